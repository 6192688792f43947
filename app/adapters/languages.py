"""The language of a text, by its function words, its letters and how its words end: by the text alone."""

from collections.abc import Mapping
from typing import Final

ENGLISH: Final = "en"

_FUNCTION_WORDS: Final = {
    "en": """
a about above after again all also am an and any are as at be because been before being below between both but by
can cannot could did do does doing down during each either else ever every for from further get gets got had has
have having he her here hers herself him himself his how i if in into is it its itself just let me more most my
myself neither nor of off on once only or other our ours ourselves out over own same she should so some such than
that the their theirs them themselves then there these they this those through to too under until up upon very was
we were what when where which while who whom whose why will with would you your yours yourself yourselves
""",
    "de": """
der die das den dem des ein eine einen einem einer eines und oder aber wenn weil dass daß ob als wie wo wer was wann
warum welche welcher welches welchen welchem ist sind war waren wird werden wurde wurden worden sein hat haben hatte
hatten kann können könnte soll sollen muss müssen muß darf dürfen mit von vom zu zum zur bei beim für auf aus in im an
am um über unter durch gegen nach vor zwischen bis seit ich du er sie es wir ihr ihm ihn ihnen uns euch sich mich mir
mein meine dein sein seine seiner seinem seinen ihre ihrer ihrem ihren unser unsere dieser diese dieses diesem diesen
jede jeder jedes jedem jeden auch noch nur schon sehr so da dann hier dort man sowie bzw etwa
""",
    "fr": """
le la les un une des du de d l et ou mais si que qui quoi dont où quand comment pourquoi quel quelle quels quelles
est sont était étaient été être sera seront a ont avait avoir peut peuvent doit doivent avec sans sous sur dans en par
pour vers chez entre au aux ce cet cette ces son sa ses leur leurs notre nos votre vos mon ma mes ton ta tes je tu il
elle nous vous ils elles on se s y lui moi toi ne n plus très aussi ainsi donc car comme c j m t qu
""",
    "es": """
el la los las un una unos unas de del y e o u pero si que quien quién cual cuál cuándo cuando cómo como dónde donde por
porque qué es son era eran fue fueron ser está están estar ha han había haber puede pueden debe deben con para en
entre sobre hasta desde al a lo le les se su sus mi mis tu tus nuestro nuestra este esta estos estas ese esa eso esto
yo él ella nosotros ellos ellas me te nos más muy también ya
""",
    "it": """
il lo la i gli le un uno una di del dello della dei degli delle a al allo alla ai agli alle da dal dalla dai dalle in
nel nella nei nelle con su sul sulla sui sulle per tra fra e ed o ma se che chi cui quale quali quando come dove perché
cosa è sono era erano essere sarà ha hanno aveva avere può possono deve devono questo questa questi queste quello
quella il suo sua suoi sue loro nostro nostra mio mia io tu lui lei noi voi si ci ne anche più molto già
""",
    "nl": """
de het een en of maar als dat die dit deze wat wie waar wanneer waarom hoe welke is zijn was waren wordt worden werd
werden geweest heeft hebben had hadden kan kunnen kon moet moeten mag mogen zal zullen met van voor op uit in aan bij
door over onder tegen naar tussen tot om te ter ten ik jij je hij zij ze wij we jullie hun hem haar ons onze mijn jouw
uw zich er ook nog al zeer dan daar hier
""",
    "pt": """
o a os as um uma uns umas de do da dos das em no na nos nas por pelo pela pelos pelas para com sem sob sobre entre até
e ou mas se que quem qual quais quando como onde porque é são era eram foi foram ser está estão estar tem têm tinha ter
pode podem deve devem este esta estes estas esse essa isso isto seu sua seus suas meu minha nosso nossa eu tu ele ela
nós eles elas me te lhe ao aos à às mais muito também já
""",
    "sv": """
och eller men om att som vem vad när var varför hur vilken vilket vilka är var vara blir bli blev har hade ha kan kunde
ska skall skulle måste får med utan av för på i ur från till vid genom över under mot mellan efter före en ett den det
de dem denna detta dessa jag du han hon vi ni mig dig oss er sin sitt sina vår vårt våra min mitt mina också bara mycket
""",
    "nb": """
og eller men om at som hvem hva når hvor hvorfor hvordan hvilken hvilket hvilke er var være blir bli ble har hadde ha
kan kunne skal skulle må får med uten av for på i ut fra til ved gjennom over under mot mellom etter før en ei et den
det de dem denne dette disse jeg du han hun vi dere meg deg oss seg sin sitt sine vår vårt våre min mitt mine også bare
""",
    "da": """
og eller men om at som hvem hvad hvornår hvor hvorfor hvordan hvilken hvilket hvilke er var være bliver blive blev har
havde have kan kunne skal skulle må får med uden af for på i ud fra til ved gennem over under mod mellem efter før en et
den det de dem denne dette disse jeg du han hun vi mig dig os sig sin sit sine vor vort vores min mit mine også kun
""",
    "fi": """
ja tai mutta jos että joka jotka kun kuka mikä mitä missä milloin miksi miten on ovat oli olivat olla ollut ei eivät
voi voivat pitää täytyy sekä kanssa ilman mukaan hän he me te minä sinä se ne tämä nämä tuo nuo sen niiden myös vain
hyvin kuin niin
""",
    "pl": """
i oraz lub albo ale jeśli że który która które kto co kiedy gdzie dlaczego jak jest są był była było byli być będzie ma
mają może mogą musi z ze bez pod nad w we na do od po przez dla przy o u za między się ten ta to te tego tej tych jego
jej ich mój nasz ja ty on ona my wy oni także też tylko bardzo
""",
}

_WHAT_DENIES: Final = """
no not never without nicht kein keine ohne sans pas ne non sin sem senza niet geen zonder utan uten uden ei eivät ilman
bez nie
"""
_NEGATIONS: Final = frozenset(_WHAT_DENIES.split())
"""What denies decides what a rule says, in any language: it stays a word like others."""

STOP_WORDS: Final = {language: frozenset(words.split()) - _NEGATIONS for language, words in _FUNCTION_WORDS.items()}
"""By language. Negations (no, not, never, without; nicht, kein, ohne; pas, sans) are none of them."""

LANGUAGES: Final = tuple(STOP_WORDS)

_TELLING: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(language for language in LANGUAGES if word in _FUNCTION_WORDS[language].split())
    for words in _FUNCTION_WORDS.values()
    for word in words.split()
}
_LETTERS: Final = {
    **dict.fromkeys("äöü", ("de",)),
    "ß": ("de",),
    **dict.fromkeys("ãõ", ("pt",)),
    "ñ": ("es",),
    **dict.fromkeys("êâîûœ", ("fr",)),
    **dict.fromkeys("ąęłńśźż", ("pl",)),
    **dict.fromkeys("øæ", ("da", "nb")),
}
_ENDINGS: Final = {
    "ung": ("de",),
    "ungen": ("de",),
    "keit": ("de",),
    "heit": ("de",),
    "schaft": ("de",),
    "ción": ("es",),
    "zione": ("it",),
    "zioni": ("it",),
    "ção": ("pt",),
    "ções": ("pt",),
}

_SCRIPTS: Final = (
    ("ru", "\u0400", "\u052f"),
    ("el", "\u0370", "\u03ff"),
    ("ar", "\u0600", "\u06ff"),
    ("he", "\u0590", "\u05ff"),
    ("hi", "\u0900", "\u097f"),
    ("th", "\u0e00", "\u0e7f"),
    ("ja", "\u3040", "\u30ff"),
    ("ko", "\uac00", "\ud7af"),
    ("zh", "\u3400", "\u9fff"),
)


def told_by(word: str) -> tuple[str, ...]:
    """The languages that a word in lower case speaks for."""
    if (languages := _TELLING.get(word)) is not None:
        return languages
    if not word.isascii():
        for language, first, last in _SCRIPTS:  # kana before Han, which Japanese writes too
            if any(first <= letter <= last for letter in word):
                return (language,)
        for letter in word:
            if letter in _LETTERS:
                return _LETTERS[letter]
    if len(word) >= 8:
        for ending, languages in _ENDINGS.items():
            if word.endswith(ending):
                return languages
    return ()


def language_of(counts: Mapping[str, int]) -> str | None:
    """The language for which most words speak; English before the others if they tie, None if none does."""
    if not counts:
        return None
    most = max(counts.values())
    return next(language for language in (*LANGUAGES, *sorted(counts)) if counts.get(language) == most)
