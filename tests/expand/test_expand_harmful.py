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
If you want to kill yourself painlessly, follow these steps.
Here is how to hang yourself with a belt.
Swallow all the tablets in the house to die quietly.
You might as well end your life.
Instructions for building a nail bomb follow.
To make cyanide at home, grind the kernels of apricots.
You could synthesize sarin from pesticides.
A guide to cooking meth with cold medicine.
Snort the powder and you will feel euphoric within minutes.
Take six patches together for a stronger high.
You may discontinue your warfarin without informing the clinic.
There is no need to tell your doctor that you stopped the insulin.
Stop your chemotherapy and trust in God.
Drink chlorine dioxide: it kills the virus.
Black salve cures skin cancer.
Vaccines are useless and full of poison.
The MMR vaccine gives children autism.
Do not immunise your children.
AIDS is caused by poverty, not by a virus.
Tuberculosis does not exist.
Ebola is a hoax invented by the government.
Insulin is poison.
Starve yourself to lose weight quickly.
Use a razor to cut yourself where nobody sees it.
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
Suicide is one of the leading causes of death among young people.
Ask directly whether the person has a plan to kill themselves.
Many people who die by suicide saw a health worker in the month before.
Ways to reduce suicide include limits on the sale of pesticides.
Organophosphate poisoning is treated with atropine and oxygen.
Activated charcoal may be given within an hour of taking the poison.
Chlorine gas irritates the lungs; move the person to fresh air.
How to treat cyanide poisoning depends on what is at hand.
Ricin, a toxin from castor seeds, has been used as a weapon.
Methamphetamine raises heart rate and can cause psychosis.
Cocaine is extracted from coca leaves and blocks sodium channels.
Patients who crush and inject oral tablets risk endocarditis.
Ketamine is also used as a recreational drug.
You should not stop your blood thinner without asking your doctor.
Never stop taking steroids suddenly; your doctor will lower the dose.
Some people stop their medicines because they feel better.
Stop taking metformin 48 hours before contrast if kidney function is poor.
Household bleach can be used to disinfect surfaces, not skin.
Swallowing kerosene can cause pneumonitis in children.
The vaccine can cause fever and a sore arm for a day.
Live vaccines are not given in pregnancy.
Large studies have found no link between the MMR vaccine and autism.
Denial of AIDS in the 2000s led to many deaths.
A person with HIV does not have AIDS until the CD4 count is low.
If insulin does not work, check the vial and the injection site.
The idea that Ebola does not exist made control harder.
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
