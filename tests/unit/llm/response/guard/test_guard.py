"""The guard: what each check refuses and what it lets pass, the reasons, and unusual texts."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vectorcache_llm.response.guard import CHECKS, Guard, Pair, features_of
from vectorcache_llm.response.guard.guard import LONGEST, REMEMBERED
from vectorcache_llm.response.guard.lexicon import lexicon, stem_of
from vectorcache_llm.response.guard.numerals import in_digits, spoken
from vectorcache_llm.response.guard.typos import is_typo

REFUSED = [
    ("language", "Where is the station?", "Где вокзал?"),
    ("language", "What is the best way to the station?", "Wie komme ich am besten zu dem Bahnhof?"),
    ("language", "Wie ist das Wetter in Paris?", "Comment est le temps dans Paris et la région?"),
    ("numbers", "Give me 3 apples", "Give me 4 apples"),
    ("numbers", "Give me apples", "Give me 4 apples"),
    ("numbers", "Is 3.1 newer than 3.2?", "Is 3.10 newer than 3.2?"),
    ("numbers", "What is -5 plus 3?", "What is 5 plus 3?"),
    ("numbers", "Divide 10 by 2", "Divide 2 by 10"),
    ("numbers", "Lend me twenty one pounds", "Lend me twenty two pounds"),
    ("numbers", "Who won on 2024-05-03?", "Who won on 2024-05-04?"),
    ("numbers", "Is 5 km far?", "Is 5 miles far?"),
    ("units", "How tall is it in feet?", "How tall is it in metres?"),
    ("units", "How much do I earn per month?", "How much do I earn per year?"),
    ("negation", "Can I eat this?", "Can I not eat this?"),
    ("negation", "Can I eat this?", "Can't I eat this?"),
    ("negation", "Cook it with salt", "Cook it without salt"),
    ("negation", "Darf ich das essen und trinken?", "Darf ich das nicht essen und trinken?"),
    ("negation", "Est-ce que je peux manger du pain?", "Est-ce que je ne peux pas manger du pain?"),
    ("negation", "¿Puedo comer el pan en la casa?", "¿No puedo comer el pan en la casa?"),
    ("opposites", "How do I increase the volume?", "How do I decrease the volume?"),
    ("opposites", "What happened before the war?", "What happened after the war?"),
    ("opposites", "Who is the oldest king?", "Who is the newest king?"),
    ("opposites", "Delete all files", "Delete some files"),
    ("opposites", "Are you open on Monday?", "Are you open on Friday?"),
    ("question", "When was it built?", "Why was it built?"),
    ("question", "How many were there?", "Which were there?"),
    ("task", "Summarise this report", "Translate this report"),
    ("quoted", 'What does "foo" mean?', 'What does "bar" mean?'),
    ("limits", "List the admins", "List only the admins"),
    ("exchanged", "Convert JSON to XML", "Convert XML to JSON"),
    ("exchanged", "Do cats hunt dogs?", "Do dogs hunt cats?"),
    ("exchanged", "How many inches are in a foot?", "How many feet are in an inch?"),
    ("exchanged", "Can I sue my boss?", "Can my boss sue me?"),
    (
        "exchanged",
        "Which flights go from New York to New Jersey?",
        "Which flights go from New Jersey to New York?",
    ),
    (
        "exchanged",
        "Did the Bank of Wales buy the Bank of Scotland?",
        "Did the Bank of Scotland buy the Bank of Wales?",
    ),
    (
        "exchanged",
        "how often did leeds city beat leeds united",
        "how often did leeds united beat leeds city",
    ),
    ("exchanged", "append list a to list b", "append list b to list a"),
    ("exchanged", "Is plan A better than plan B?", "is plan b better than plan a?"),
    ("names", "Who is Ann Smith?", "Who is Bob Smith?"),
    ("names", "What is the capital of Austria?", "What is the capital of Australia?"),
    ("names", "Open the file a.txt", "Open the file b.txt"),
    ("content_words", "How do I clean an oven?", "How do I clean an engine?"),
    ("content_words", "Recommend a hotel", "Recommend a hotel with parking"),
    ("content_words", "How does a heat pump work in winter?", "Which flowers bloom near the coast?"),
]

PASSED = [
    ("Explain recursion.", "Could you please explain recursion to me? Thanks!"),
    ("How do I fix a flat tyre?", "How can I repair a flat tire?"),
    ("What is 15% of 240?", "Calculate 15 percent of 240"),
    ("Lend me $5,000", "Lend me 5k dollars"),
    ("What happened on 3 May 2024?", "What happened on 2024-05-03?"),
    ("Who was third in 2020?", "Who was 3rd in 2020?"),
    ("What is twelve plus six?", "What is 12 plus 6?"),
    ("How far is it in km?", "How far is it in kilometres?"),
    ("Why don't you explain recursion?", "Explain recursion"),
    ("Is it not unlikely that cats don't swim?", "Is it unlikely that cats swim?"),
    ("Tell me whether or not cats swim", "Tell me whether cats swim"),
    ("In which year was Python created?", "When was Python created?"),
    (
        "What is the difference between a list and a tuple?",
        "What is the difference between a tuple and a list?",
    ),
    ("How far apart are New York and New Jersey?", "How far apart are New Jersey and New York?"),
    (
        "Do Alpha Centauri and Beta Centauri belong together?",
        "Do Beta Centauri and Alpha Centauri belong together?",
    ),
    ("How do I write a while loop in C?", "How do I write while loops in C?"),
    ("What's a by-product of photosynthesis?", "What are by-products of photosynthesis?"),
    ("Is plan A better than plan B?", "is plan a better than plan b"),
    ("How long does hepatitis A last?", "how long does hepatitis a last?"),
    ("Is list a longer than list b?", "is list A longer than list B"),
    ("On Windows, do I need to get Python with pip?", "With pip, do I need to get Python on Windows?"),
    ("Is milk bad for cats? Is cheese bad for cats?", "Is cheese bad for cats? Is milk bad for cats?"),
    ("Convert 3 tbsps of butter to grams", "Convert 3 tablespoons of butter to grams"),
    ("In New York, do I need a New Jersey licence?", "Do I need a New Jersey licence in New York?"),
    ("Write me A Short Poem", "Write me a short poem"),
    ("What is machine learning?", "What is ML?"),
    ("How does principal component analysis work?", "How does PCA work?"),
    ("What is the largest state of the US?", "What is the largest state of the United States?"),
    ("How do I configure a Kubernetes ingress?", "How do I configure a Kuberntes ingress?"),
    ("what is the capital of france", "What is the capital of France?"),
    ("How do I set up my email?", "How do I setup my email?"),
    ("WHAT IS THE CAPITAL OF FRANCE?", "What is the capital of France?"),
]


@pytest.fixture(scope="module")
def guard() -> Guard:
    return Guard()


@pytest.mark.parametrize(("check", "a", "b"), REFUSED)
def test_it_refuses_differences_of_meaning(guard: Guard, check: str, a: str, b: str) -> None:
    for refusal in (guard.refuses(a, b), guard.refuses(b, a)):
        assert refusal is not None
        assert refusal.check == check
        assert refusal.reason


TEMPLATES = re.compile(
    "only one of the two is negated|only one of the two says |numbers in another order|opposites|quotations"
    "|little in common|(?:numbers|units|units of time|questions|clauses|tasks|names): "
)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        *((a, b) for check, a, b in REFUSED if check != "language"),  # its reasons name scripts and languages
        ("Does Kayaking help?", "Does Sailing help?"),
        ("How come the sky is blue?", "Was the sky blue?"),
        ("What makes bread rise?", "Who bakes bread?"),
        ("How many days does it take?", "Which days does it take?"),
        ("Tell me the price When parcels arrive.", "Tell me the price where parcels arrive."),
        ("Is it 5k dollars?", "Is it $6,000?"),
        ("Lend me twenty-one Pounds", "Lend me two million pounds"),
        ("How tall in kilometres?", "How tall in inches?"),
        ("How much Per Fortnight?", "How much per Yearly cycle?"),
        ("Can we sue our boss?", "Can our boss sue us?"),
        ("List solely admins", "List admins"),
        ("Delete each file", "Delete a file"),
        ("Summarize this report", "Could you refactor this report?"),
        ("Is the E-mail of Leeds's mayor known?", "Is the fax of Hull's mayor known?"),
        ("Who lives in the United States?", "Who lives in Great Britain?"),
        ("Sell my bicycles on 2024-05-03", "Sell my boats on 3 May 2024"),
    ],
)
def test_reasons_print_the_words_as_written(guard: Guard, a: str, b: str) -> None:
    for refusal in (guard.refuses(a, b), guard.refuses(b, a)):
        assert refusal is not None
        for words in re.split(r", | and ", TEMPLATES.sub("", refusal.reason)):
            assert words in ("", "none") or re.search(rf"(?<!\w){re.escape(words)}(?!\w)", f"{a} {b}"), (
                refusal
            )


def test_reasons_print_no_normal_forms(guard: Guard) -> None:
    reasons = {
        ("Book a train from Leeds to York", "Book a train from York to Leeds"): "Leeds and York",
        ("Lend me twenty-one pounds", "Lend me 5k pounds"): "numbers: twenty-one pounds and 5k pounds",
        ("Who won on 2024-05-03?", "Who won on 2024-05-04?"): "numbers: 2024-05-03 and 2024-05-04",
        ("How come it is blue?", "Is it blue?"): "questions: How come and none",
        ("Is it 15% of it?", "Is it 16 percent of it?"): "numbers: 15% and 16 percent",
        ("Fix my bicycles", "Repair my boats"): "bicycles and boats",
        ("Who is Ann Smith?", "Who is Bob Smith?"): "names: Ann, Bob",
    }
    assert {pair: getattr(guard.refuses(*pair), "reason", None) for pair in reasons} == reasons


@pytest.mark.parametrize(("a", "b"), PASSED)
def test_it_lets_paraphrases_pass(guard: Guard, a: str, b: str) -> None:
    assert guard.refuses(a, b) is None
    assert guard.refuses(b, a) is None


def test_every_check_is_shown_above() -> None:
    assert {check.name for check in CHECKS} == {name for name, _, _ in REFUSED}


def test_without_checks_everything_passes() -> None:
    assert Guard(()).refuses("Can I?", "Can I not?") is None


def test_very_long_texts_match_only_themselves(guard: Guard) -> None:
    text = "word " * LONGEST
    assert guard.refuses(text, text) is None
    refusal = guard.refuses(text, text + "!")
    assert refusal is not None
    assert refusal.check == "length"
    assert guard.read(text) is None


def test_texts_are_read_once(guard: Guard) -> None:
    assert guard.read("What is this?") is guard.read("What is this?")
    assert REMEMBERED > 10_000  # at least the usual number of entries in a memory tier


ODD = (
    *("what", "is", "not", "3", "km", "$", "1,000.50", "2024-13-45", "US", "`a`", '"b"'),
    *("don't", "C++", "the", "cat", "—", "猫", "½", "one", "two"),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=60) | st.lists(st.sampled_from(ODD), max_size=9).map(
    " ".join
)


def test_words_that_resemble_units_are_not_units() -> None:
    assert not features_of("the tone of France, of a gale and of a mil").units
    assert features_of("three kilogrammes, 2 tbsps").units.keys() == {"kilogram", "tablespoon"}


@given(TEXTS, TEXTS)
def test_any_two_texts_can_be_compared_both_ways(a: str, b: str) -> None:
    guard = Guard()
    assert guard.refuses(a, a) is None
    assert (guard.refuses(a, b) is None) == (guard.refuses(b, a) is None)


@given(TEXTS, TEXTS)
def test_reasons_print_only_words_of_the_texts(a: str, b: str) -> None:
    refusal = Guard().refuses(a, b)
    if refusal is not None and refusal.check != "language":
        words = set(re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", f"{a} {b}")))
        assert set(re.findall(r"[^\W_]+", TEMPLATES.sub("", refusal.reason))) <= words | {"and", "none"}


PLACES = (
    "A",
    "a",
    "new",
    "york",
    "list",
    "b",
    "to",
    "from",
    "and",
    "of",
    "3",
    "km",
    "I",
    "me",
    "sells",
    "so.",
)


@given(st.data())
def test_the_same_words_in_two_orders_can_be_compared_both_ways(data: st.DataObject) -> None:
    words = data.draw(st.lists(st.sampled_from(PLACES), max_size=9))
    a, b = " ".join(words), " ".join(data.draw(st.permutations(words)))
    guard = Guard()
    assert (guard.refuses(a, b) is None) == (guard.refuses(b, a) is None)


def test_synonyms_are_matched() -> None:
    pair = Pair(
        features_of("repair the regex of my db"), features_of("fix the regular expression of my database")
    )
    assert pair.unmatched == (set(), set())
    pair = Pair(features_of("fix my bicycle"), features_of("fix my boat"))
    assert pair.unmatched == ({"bicycl"}, {"boat"})


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("three", ("3", 1)),
        ("twenty one", ("21", 2)),
        ("two hundred thousand", ("200000", 3)),
        ("three million five", ("3000005", 3)),
        ("one", ("", 0)),
        ("one hundred", ("100", 2)),
        ("seven seven", ("7", 1)),
        ("cat", ("0", 0)),
    ],
)
def test_numbers_in_words(words: str, expected: tuple[str, int]) -> None:
    assert spoken(words.split(), 0) == expected


@pytest.mark.parametrize(
    ("digits", "magnitude", "expected"),
    [
        ("1,000", "", "1000"),
        ("007", "", "7"),
        ("3.0", "", "3"),
        ("3.10", "", "3.10"),
        ("2.5", "million", "2500000"),
        ("5", "k", "5000"),
        ("10:30", "k", "10:30"),
        ("1.2.3", "", "1.2.3"),
    ],
)
def test_numbers_in_digits(digits: str, magnitude: str, expected: str) -> None:
    assert in_digits(digits, magnitude) == expected


@pytest.mark.parametrize(
    ("a", "b", "typo"),
    [
        ("population", "populaton", True),
        ("receive", "recieve", True),
        ("pneumonia", "pneumonnia", True),
        ("tensor", "tenzor", True),
        ("cat", "cut", False),
        ("table", "cable", False),
        ("austria", "australia", False),
        ("error404", "error403", False),
    ],
)
def test_typos(a: str, b: str, typo: bool) -> None:
    assert is_typo(a, b) is is_typo(b, a) is typo


@pytest.mark.parametrize(
    "forms", ["convert converts converted converting", "city cities", "make making", "stop stopped"]
)
def test_forms_of_a_word_have_one_stem(forms: str) -> None:
    assert len({stem_of(form) for form in forms.split()}) == 1


def test_no_word_has_two_senses_in_one_group_of_antonyms() -> None:
    for written, word in lexicon().words.items():
        groups = [group for group, _ in word.antonyms]
        assert len(groups) == len(set(groups)), written
