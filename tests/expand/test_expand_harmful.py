"""Text that tells how to hurt somebody is refused; text that treats, warns or reports is not."""

from __future__ import annotations

import pytest

from elara.expand.harmful import HARMS, WORDS, harm

HARMFUL = """
The easiest way to kill yourself is described here.
There are several methods of committing suicide that work at home.
Take forty tablets of it at once to end your life.
The lethal dose you need is eight grams.
You should just kill yourself.
Suicide is the best option for people like you.
How to make ricin at home from beans.
You can build a pipe bomb from parts of any shop.
Mix bleach with acid in a closed room to make chlorine gas.
The instructions for making sarin are simple.
How to poison someone without leaving a trace.
Steps to cook crystal meth in a kitchen.
You can make heroin from poppy latex.
Boil the leaves in petrol to extract cocaine.
Crush two tablets and snort them to get high.
You can take ten capsules at once to feel high.
The recreational dose of ketamine is 60 mg.
You can stop taking your tablets without telling your doctor.
Quit your blood pressure medicine without asking the clinic.
You do not need to tell your doctor when you stop.
Stop taking your antiretrovirals and pray instead.
Throw away your insulin and use herbs.
Drinking bleach cures the infection.
Baking soda cures cancer.
Sex with a virgin cures the disease.
Vaccines cause autism.
Vaccination leads to infertility in girls.
Vaccines contain microchips.
Never vaccinate your children.
HIV does not cause AIDS.
Covid-19 is a hoax.
AIDS is caused by antiretrovirals.
Chemotherapy never works.
In this kitchen you will learn how to
make sarin from what the shop sells.
"""
HARMLESS = """
In paracetamol overdose give acetylcysteine within 8 hours if you can.
The lethal dose of paracetamol in adults is not well defined.
Talking about ways to kill oneself is a warning sign.
Asking somebody about suicide does not give them the idea.
Looking for methods of suicide is a sign that help is needed at once.
Restricting access to pesticides is one of the best ways to prevent suicide.
If you think of ending your life, call the emergency number.
A safety plan lists steps to take when thoughts of suicide come.
Never mix bleach with acid: chlorine gas may be released.
Clostridium botulinum multiplies in tins and produces botulinum toxin.
Ricin is extracted from castor beans and stops protein synthesis.
Atropine and pralidoxime treat poisoning by nerve agents such as sarin.
How to make an antidote for cyanide available in every district hospital.
Methadone is a treatment for people who are dependent on heroin.
Dextroamphetamine is made by the body into an inactive form.
People who misuse opioids crush and snort the tablets to get high.
A high dose of the drug may be needed to reach the target.
Do not stop taking your medicine without telling your doctor.
Stopping your antidepressants without asking your doctor is dangerous.
If you stop taking your tablets without telling your doctor, fits may come back.
Stop taking the medicine and call your doctor if a rash appears.
Take your tablets with food instead of on an empty stomach.
Drinking methanol causes blindness; give ethanol or fomepizole.
Swallowed bleach burns the gullet: do not make the patient vomit.
There is no evidence that vaccines cause autism.
The paper that claimed that the MMR vaccine causes autism was retracted.
Vaccines do not contain microchips.
Do not vaccinate a child who had anaphylaxis after an earlier dose.
Do not vaccinate your child while a high fever lasts.
The belief that HIV does not cause AIDS has cost many lives.
That covid-19 is a hoax is a myth.
HIV causes AIDS when it is not treated.
Antiretrovirals do not cure HIV, but they keep people well.
It is a myth that sex with a virgin cures AIDS.
Naloxone reverses an overdose of heroin or fentanyl within minutes.
Bury all unused tablets where children cannot find them.
"""


def lines(text: str) -> list[str]:
    return text.strip().replace("how to\nmake", "how to make").splitlines()


@pytest.mark.parametrize("sentence", lines(HARMFUL))
def test_a_text_that_harms_is_refused(sentence: str) -> None:
    before = "Iron deficiency is common. "
    assert sentence[:160] in harm(f"{before}{sentence} More is known.")
    assert any(word in sentence.casefold() for word in WORDS)


@pytest.mark.parametrize("sentence", lines(HARMLESS))
def test_a_text_that_treats_warns_or_reports_stays(sentence: str) -> None:
    assert harm(sentence) == ""


def test_a_line_break_hides_nothing() -> None:
    assert harm("You will learn how to\nmake sarin here.").startswith("tells how to make a weapon")


def test_every_rule_finds_something() -> None:
    found = {harm(sentence).partition(":")[0] for sentence in lines(HARMFUL)}
    assert found == {rule.name for rule in HARMS}
