"""Refuse text that tells how to hurt somebody, or denies what keeps people alive.

Medicine speaks of poisons, overdoses and suicide, and has to. So each rule has three parts: the
words it looks for, within one sentence, and the words with which a sentence warns, reports or
contradicts, which clear it. Single sentences are judged, in English only: a harm that is spread
over several, said by allusion or in another language passes unseen.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

# A sentence that forbids, corrects or doubts.
_DENIED = (
    r"\b(?:no|not|never|cannot|\w+n['’]t|avoid\w*|myths?|false\w*|untrue|wrong\w*|misconceptions?|"
    r"misinformation|misbelie\w+|rumou?rs?|hoax(?:es)?|conspirac\w+|deni(?:al|ed|es|alis[mt]s?)|"
    r"debunk\w*|disprove[dn]?|refut\w+|retracted|fraudulent|discredited|claim\w*|alleg\w+|"
    r"dangerous|harmful|unsafe|danger|illegal|contrary|without (?:any )?evidence)\b"
)
# A sentence that describes danger, prevention or care, and gives no instruction.
_CARE = (
    r"\b(?:warning|signs?|symptoms?|prevent\w*|risks?|risk factors?|thoughts?|thinking|talk\w*|"
    r"threat\w*|ideation|screen\w*|ask\w*|assess\w*|feel\w*|help|helpline|hotline|crisis|"
    r"emergency|urgent\w*|treat\w*|search(?:es|ing)?|looking for|access to|restrict\w*|"
    r"reduc\w*|safety|call)\b"
)
_HOW = (
    r"(?:how (?:to|you can|one can)|(?:steps?|ways?|recipes?|instructions?|directions?|guide|"
    r"methods?|protocol) (?:to|for|on|of)|you (?:can|could|may|should|need to|will need to))"
)
_MAKE = (
    r"(?:mak(?:e|ing)|build(?:ing)?|cook(?:ing)?|synthesi[sz](?:e|ing)|produc(?:e|ing)|"
    r"prepar(?:e|ing)|extract(?:ing)?|manufactur(?:e|ing)|weaponi[sz](?:e|ing)|"
    r"brew(?:ing)?|purify(?:ing)?|assembl(?:e|ing))"
)
_WEAPON = (
    r"(?:(?:pipe |nail |fertili[sz]er |suicide )?bombs?|explosives?|nerve (?:agents?|gas)|sarin|"
    r"novichok|mustard gas|chlorine gas|chloramine gas|phosgene|ricin|cyanide|poison(?: gas)?|"
    r"botulinum toxin|anthrax|bioweapons?|biological weapons?|chemical weapons?|molotov\w*)"
)
_DRUG = (
    r"(?:(?:crystal )?meth(?:amphetamine)?|amphetamines?|heroin|crack(?: cocaine)?|cocaine|mdma|"
    r"ecstasy|fentanyl|lsd|ghb|krokodil|desomorphine|dmt|mephedrone)"
)
_TAKE = r"(?:tak(?:e|ing)|swallow(?:ing)?|snort(?:ing)?|crush(?:ing)?|inject(?:ing)?|smok(?:e|ing))"
_THERAPY = (
    r"(?:medications?|medicines?|insulin|tablets?|pills?|drugs?|antiretrovirals?|arvs?|art|"
    r"treatment|chemotherapy|dialysis|antidepressants?|antipsychotics?|steroids?|inhalers?|"
    r"anticoagulants?|warfarin|antibiotics?)"
)
_DOCTOR = (
    r"(?:doctors?|physicians?|clinicians?|nurses?|clinics?|health(?:care)? \w+|anyone|anybody)"
)


@dataclass(frozen=True)
class Harm:
    """A kind of text that no example may hold.

    Args:
        name: what the text does.
        words: in small letters, with `|` between them: such a sentence holds one of them at least.
            They spare most texts the search.
        found: what such a sentence holds, as a regular expression.
        cleared: what a sentence of that form holds that warns, reports or contradicts.
    """

    name: str
    words: str
    found: str
    cleared: str = _DENIED


HARMS = (
    Harm(
        "tells how to harm oneself",
        "suicide|self-harm|self harm|your life|your own life|to die|will die|never die|wake up|"
        "hal dose|tal dose|dly dose|kill yourself|kill oneself|kill myself|kill themselves|"
        "yourself|ing oneself|ing myself|ing themselves",
        rf"{_HOW} (?:\w+ ){{0,3}}(?:kill(?:ing)? (?:your|one|my|them)sel(?:f|ves)|"
        r"(?:commit(?:ting)?|complet(?:e|ing)|die by) suicide|suicide|"
        r"end(?:ing)? your (?:own )?life|"
        r"hang(?:ing)? yourself|cut(?:ting)? yourself|hurt(?:ing)? yourself|self-harm(?:ing)?)\b"
        rf"|\b{_TAKE} (?:\w+[ ,]+){{0,8}}(?:to (?:die|kill yourself|end your life|commit suicide)|"
        r"and (?:you will|never) (?:die|wake up))\b"
        r"|\bif you (?:want|wish) to (?:kill yourself|die|end your (?:own )?life)\b"
        r"|\b(?:use|take|find) (?:\w+ ){1,4}to (?:kill|hang|cut|burn|hurt|poison|drown) yourself\b"
        r"|^\W*(?:starve|hang|cut|burn|poison|drown) yourself\b"
        r"|\b(?:lethal|fatal|deadly) dose (?:\w+ ){0,4}"
        r"(?:to take|you (?:need|should|can)|for suicide)",
        f"{_DENIED}|{_CARE}",
    ),
    Harm(
        "encourages suicide",
        "kill yourself|killing yourself|end it all|end your life|should die|just die|"
        "ought to die|as well die|better die|suicide is",
        r"\byou (?:should|ought to|might as well|had better) (?:just )?(?:kill yourself|die|"
        r"end (?:it all|your life))\b|\b(?:suicide|killing yourself) is (?:the|your) (?:best|only|"
        r"right) (?:way|option|choice|answer|solution)\b",
    ),
    Harm(
        "tells how to make a weapon or a poison",
        "bomb|explosive|nerve agent|nerve gas|sarin|novichok|mustard gas|chlorine gas|"
        "chloramine gas|phosgene|ricin|cyanide|poison|botulinum|anthrax|weapon|molotov",
        rf"{_HOW} {_MAKE} (?:\w+ ){{0,3}}{_WEAPON}\b"
        rf"|^\W*to {_MAKE} (?:\w+ ){{0,2}}{_WEAPON}\b"
        rf"|^\W*(?:mix|combine|boil|grind|extract|ferment|soak)\b[^.]{{3,120}}\bto "
        rf"(?:{_MAKE}|obtain|release|isolate|get) (?:\w+ ){{0,2}}{_WEAPON}\b"
        r"|\bhow to poison (?:someone|somebody|a person|people|your \w+|the water)\b",
        f"{_DENIED}|\\b(?:antitoxin|antidote|vaccine|detect\\w*|protect\\w*)\\b",
    ),
    Harm(
        "tells how to make an illicit drug",
        "meth |meth.|meth,|methamph|amphetamine|heroin|crack |crack.|cocaine|mdma|ecstasy|"
        "fentanyl|lsd|ghb|krokodil|desomorphine|dmt|mephedrone",
        rf"{_HOW} {_MAKE} (?:\w+ ){{0,3}}{_DRUG}\b"
        rf"|^\W*(?:mix|combine|boil|cook|extract|dissolve|heat)\b[^.]{{3,120}}\bto "
        rf"(?:{_MAKE}|obtain|isolate|get) (?:\w+ ){{0,2}}{_DRUG}\b",
    ),
    Harm(
        "doses a drug for intoxication",
        "get high|feel high|be high|stoned|buzz|euphoric|recreational|party dos|best high|"
        "stronger high|better high|maximum high| rush",
        rf"(?:^\W*|\byou (?:can|could|should|need to|may) |\bjust |{_HOW} ){_TAKE}\b[^.]{{3,100}}"
        r"\b(?:to|and|will) (?:get|feel|be) (?:high|stoned|buzzed|euphoric)\b"
        r"|\b(?:recreational|party) dos(?:e|es|ing) (?:of|for|is|are)\b"
        r"|\b(?:for|get) (?:a|the) (?:best|stronger|better|maximum) (?:high|buzz|rush)\b",
        f"{_DENIED}|\\b(?:people|persons|users?|patients|misus\\w+|abus\\w+|overdos\\w+)\\b",
    ),
    Harm(
        "tells to stop a treatment in secret",
        "without tell|without ask|without consult|without inform|without talk|without speak|"
        "without seeing|you stop|you have stop",
        rf"\b(?:stop|quit|discontinue|skip|throw away)(?: (?:taking|using))? (?:all |any )?"
        rf"(?:of )?(?:your|the|these|this|their) (?:[\w-]+ ){{0,3}}{_THERAPY}\b[^.]{{0,60}}"
        rf"\bwithout (?:telling|asking|consulting|informing|talking to|speaking to|seeing) "
        rf"(?:to |with )?(?:your |a |the )?{_DOCTOR}\b"
        rf"|\b(?:need not|no need to|do not need to|don['’]t need to|do not|don['’]t) "
        rf"(?:tell|ask|inform) (?:your |a |the )?{_DOCTOR} "
        r"(?:that|when|if|before) you (?:have )?stop",
        r"\b(?:not|never|don['’]t|avoid|unless|if you|dangerous|risky?|serious|harm\w*|relapse|why|"
        r"people|patients|some|many)\b(?!(?: need to)? (?:tell|ask|inform))",
    ),
    Harm(
        "replaces a treatment by what does not work",
        "instead| pray|herb|prophet|detox|homeopath|god|miracle|bleach|chlorine dioxide|"
        "disinfectant|kerosene|paraffin|turpentine|petrol|methanol|baking soda|urine cure|"
        "urine heal|urine will|urine can|urine alone|alkaline water|black salve|virgin",
        rf"\b(?:stop|quit|throw away|refuse)(?: taking)? (?:your|all) "
        rf"(?:[\w-]+ ){{0,3}}{_THERAPY}\b"
        r"[^.]{0,60}\b(?:instead|pray\w*|herb\w*|prophet|detox\w*|homeopath\w*|god|miracle)\b"
        r"|\b(?:drink|inject|swallow|gargle)(?:ing)? (?:\w+ ){0,2}(?:bleach|chlorine dioxide|"
        r"disinfectants?|kerosene|paraffin|turpentine|petrol|methanol)\b[^.]{0,40}\b(?:cures?|heals?|"
        r"treats?|kills? (?:the )?(?:virus|cancer|infection)|protects?)\b"
        r"|\b(?:bleach|chlorine dioxide|kerosene|turpentine|baking soda|urine|prayer|"
        r"alkaline water|black salve) (?:will |can |alone )?(?:cures?|heals?) "
        r"(?:\w+ )?(?:cancer|hiv|aids|autism|diabetes|malaria|covid\S*|epilepsy)\b"
        r"|\bsex with a virgin (?:cures?|heals?|cleanses?)\b",
    ),
    Harm(
        "denies vaccination",
        "vaccin|mmr|immuniz|immunis",
        r"\b(?:vaccin(?:es?|ations?)|mmr|immuni[sz]ations?) (?:\w+ ){0,3}(?:causes?|leads? to|"
        r"gives? children|results? in) (?:\w+ )?(?:autism|infertility|sterility)\b"
        r"|\bvaccin(?:es?|ations?) (?:contains?|implants?|injects?|are|is) (?:\w+ ){0,3}"
        r"(?:microchips?|tracking|poison|a plot|a hoax|useless|not needed|mind control)\b"
        r"|\b(?:do not|don['’]t|never|refuse to|should not) (?:vaccinate|immuni[sz]e) "
        r"(?:your|our|any) (?:\w+ )?(?:children|child|kids|baby|babies|family)\b",
        r"\b(?:(?:do|does|did|is|are) not (?:cause|lead|contain|implant|a)|"
        r"(?:doesn|don|isn|aren)['’]t (?:cause|contain|lead)|no (?:evidence|link)|"
        r"never (?:been|cause)|whether|allerg\w+|anaphyla\w+|contraindicat\w*|fever\w*|reactions?|"
        r"immunocomp\w+|immunodef\w+|if (?:he|she|they|it)|myths?|false\w*|untrue|misconceptions?|"
        r"misinformation|misbelie\w+|rumou?rs?|conspirac\w+|debunk\w*|disprove[dn]?|refut\w+|"
        r"retracted|fraudulent|discredited|claim\w*|alleg\w+|belie\w+|contrary)\b",
    ),
    Harm(
        "denies a disease or its cause",
        "aids is|hiv does|hiv did|hiv cannot|hiv is not|hoax|is fake|not real|invention|"
        "not exist|t exist|germ theory|never work|not work|poison|kill more|kills more",
        r"\bhiv (?:does not|doesn['’]t|did not|cannot|is not (?:the|a)) (?:cause (?:of )?)aids\b"
        r"|\b(?:hiv|aids|covid(?:-19)?|ebola|polio|tuberculosis) (?:is (?:a hoax|fake|not real|an? "
        r"invention)|does not exist|doesn['’]t exist)\b"
        r"|\baids is caused by (?:antiretrovirals?|arvs?|azt|poverty|drugs|malnutrition)\b"
        r"|\bgerm theory is (?:false|wrong|a lie)\b"
        r"|\b(?:chemotherapy|insulin|antiretrovirals?|arvs?) (?:never works?|does not work|"
        r"is poison|are poison|kills? more people than)\b",
        r"\b(?:myths?|untrue|misconceptions?|misinformation|rumou?rs?|conspirac\w+|deni(?:al\w*|ed|es|"
        r"alis[mt]s?)|debunk\w*|disprove[dn]?|claim\w*|alleg\w+|belie\w+|contrary|said|argu\w+|ideas?|notions?|whether|"
        r"if)\b|\bwrong to\b",
    ),
)

WORDS = sorted(
    {word for harm in HARMS for word in harm.words.split("|")}
)  # a text without one is harmless
_EACH = [
    (h.name, h.words.split("|"), re.compile(h.found, re.I), re.compile(h.cleared, re.I))
    for h in HARMS
]
_WRAPPED = re.compile(r"(?<=[^\n.!?:;])\n(?=[a-z])")  # a line break inside a sentence
_SENTENCE = re.compile(r"[^.!?\n]+(?:[.!?](?=\S)[^.!?\n]*)*[.!?]*")


def harm(text: str) -> str:
    """The first sentence that no example may hold, behind what it does; or "".

    Args:
        text: any text.
    """
    for sentence in _SENTENCE.findall(_WRAPPED.sub(" ", text)):
        small = sentence.casefold()
        for name, words, found, cleared in _EACH:
            if not any(word in small for word in words):
                continue
            if found.search(sentence) and not cleared.search(sentence):
                return f"{name}: {sentence.strip()[:160]}"
    return ""
