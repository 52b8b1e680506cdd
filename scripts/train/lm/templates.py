"""Wordings. Each list is split by position: the last ones, as many as `HELD_OUT` says, are kept for evaluation."""

from __future__ import annotations

from random import Random
from typing import NamedTuple, Sequence, TypeVar

from scripts.train.lm.lexicon import Split

T = TypeVar("T")
HELD_OUT = 2


def choose(items: Sequence[T], split: Split, rng: Random) -> T:
    """One wording of the split."""
    pool = items[:-HELD_OUT] if split == "train" else items[-HELD_OUT:]
    return pool[int(rng.random() * len(pool))]


class Fact(NamedTuple):
    """A wording of "the noun of key is value": statement, question, full answer."""

    statement: str
    question: str
    answer: str


#: What is stored under a key: noun, then which values it can have.
NOUNS = (
    ("magic number", "number"), ("access code", "number"), ("phone number", "number"), ("serial number", "number"),
    ("ticket", "number"), ("secret word", "word"), ("password", "pair"), ("nickname", "word"), ("label", "pair"),
    ("token", "short_hex"), ("id", "uuid"), ("session id", "uuid"), ("licence", "code"), ("badge", "code"),
    ("locker code", "number"), ("code name", "pair"),
)

#: Keys and values always follow a space, in statement, question and answer alike: the tokenizer spells a word with
#: and without a leading space differently, and what is to be copied should be the same tokens.
FACTS = (
    Fact("One of the special {n}s for {k} is: {v}.", "What is the special {n} for {k} mentioned in the text?",
         "The special {n} for {k} mentioned in the text is: {v}."),
    Fact("The {n} of {k} is {v}.", "What is the {n} of {k}?", "The {n} of {k} is {v}."),
    Fact("The {n} for {k} is {v}.", "Tell me the {n} for {k}.", "The {n} for {k} is {v}."),
    Fact("Remember that {k} has the {n} {v}.", "Which {n} does {k} have?", "I remember that {k} has the {n} {v}."),
    Fact("Note that the {n} belonging to {k} is {v}.", "Give the {n} belonging to {k}.",
         "The {n} belonging to {k} is {v}."),
    Fact("Someone gave {k} the {n} {v}.", "Which {n} did someone give {k}?", "Someone gave {k} the {n} {v}."),
    Fact("For {k}, the {n} is {v}.", "What is the {n} for {k}?", "For {k}, the {n} is {v}."),
    Fact("{n} of {k}: {v}", "Look up the {n} of {k}.", "{n} of {k}: {v}"),
    Fact("Entry {k} -> {n} -> {v}", "Complete: Entry {k} -> {n} -> ?", "Entry {k} -> {n} -> {v}"),
    Fact("We stored the {n} {v} under the name {k}.", "Which {n} is stored under the name {k}?",
         "Under the name {k} the {n} {v} is stored."),
    Fact("Whoever asks for {k} must show the {n} {v}.", "Which {n} must be shown for {k}?",
         "Whoever asks for {k} must show the {n} {v}."),
    Fact("The {n} that opens {k} is {v}.", "Which {n} opens {k}?", "The {n} that opens {k} is {v}."),
    Fact("[ {k} ] {n} = {v}", "[ {k} ] {n} = ?", "[ {k} ] {n} = {v}"),
    Fact("In the register, {k} appears with the {n} {v}.", "With which {n} does {k} appear in the register?",
         "In the register, {k} appears with the {n} {v}."),
    Fact("People know that {k} keeps the {n} {v}.", "Which {n} does {k} keep?", "People know that {k} keeps the {n} {v}."),
    Fact("It is written that the {n} of {k} shall be {v}.", "What shall the {n} of {k} be?",
         "The {n} of {k} shall be {v}."),
    Fact("Please keep in mind that {k} uses the {n} {v}.", "Which {n} does {k} use?",
         "Please keep in mind that {k} uses the {n} {v}."),
    Fact("They say the {n} assigned to {k} is {v}.", "Which {n} is assigned to {k}?",
         "The {n} assigned to {k} is {v}."),
)

#: Appended to a question; the flag says whether the answer is short.
STYLES = (
    ("", False), ("", False), ("", False), (" Answer in a sentence.", False), (" Answer with the {n} only.", True),
    (" Reply with just the {n}.", True), (" Only the {n}, please.", True), (" Give only the {n}.", True),
)

INTROS = (
    "", "", "", "Read the following text carefully.", "Some facts are hidden in the text below. Memorise them.",
    "Here is a document.", "I will ask you about the text below.", "Use only the text that follows.",
    "A special fact is hidden within the following text. Make sure to memorise it. I will quiz you about it.",
    "Study this text.", "Below is a long text with some notes in it.",
)

MULTI_VALUE = (
    ("What are all the special {n}s for {k} mentioned in the text?", "The special {n}s for {k} are: {v}."),
    ("List every {n} of {k}.", "The {n}s of {k} are: {v}."),
    ("Which {n}s does {k} have?", "The text gives {k} these {n}s: {v}."),
    ("Find all {n}s for {k}, in the order of the text.", "In order, the {n}s for {k} are: {v}."),
    ("Name each {n} that {k} was given.", "The {n}s given to {k} are: {v}."),
    ("Collect all the {n}s belonging to {k}.", "The {n}s belonging to {k} are: {v}."),
)

#: The answer repeats the facts' own answer form, one key after the other.
MULTI_QUERY = (
    "What are all the special {n}s for {k} mentioned in the text?",
    "Give the {n} of each of these: {k}.",
    "Look up {k} and tell me the {n} of each.",
    "Which {n} goes with each of {k}?",
    "For {k}, what is the {n} in each case?",
    "I need the {n}s of {k}.",
)

#: Statement that sets a value, statement that copies, question, answer.
VARIABLES = (
    ("VAR {x} = {v}", "VAR {x} = VAR {y}", "Find all variables that are assigned the value {v} in the text above.",
     "The variables assigned the value {v} are: {l}."),
    ("Let {x} = {v};", "Let {x} = {y};", "List every variable that equals {v}.", "The variables equal to {v} are: {l}."),
    ("The variable {x} holds {v}.", "The variable {x} holds the same as {y}.", "Name all variables that hold {v}.",
     "The variables that hold {v} are: {l}."),
    ("Write {v} into {x}.", "Copy {y} into {x}.", "Which variables received {v}, directly or not?",
     "The variables that received {v} are: {l}."),
    ("The number {v} is stored in {x}.", "Then {y} is copied into {x}.", "Where does {v} end up?",
     "The number {v} ends up in: {l}."),
    ("Assign {v} to {x}.", "Assign {y} to {x}.", "Which variables carry the value {v}?",
     "The value {v} is carried by: {l}."),
    ("Pipe {v} > {x}", "Pipe {y} > {x}", "Follow {v} through the pipes.", "The pipes carry {v} to: {l}."),
    ("Send {v} to {x}.", "Send {y} to {x}.", "Who gets {v} in the end?", "The number {v} goes to: {l}."),
    ("Store {x} := {v}", "Store {x} := {y}", "Find the variables whose value is {v}.",
     "The variables whose value is {v} are: {l}."),
)

PASSKEYS = (
    ("The pass key is {v}. Remember it. {v} is the pass key.", "What is the pass key?", "The pass key is {v}."),
    ("Keep this pin code in mind: {v}.", "What is the pin code?", "The pin code is {v}."),
    ("The safe opens with {v}.", "What opens the safe?", "The safe opens with {v}."),
    ("The secret combination is {v}. Do not forget {v}.", "What is the secret combination?",
     "The secret combination is {v}."),
    ("The hidden value in this text is {v}.", "Which value is hidden in this text?", "The hidden value is {v}."),
    ("The best thing to remember is the number {v}.", "Which number should be remembered?",
     "The number to remember is {v}."),
)

#: Relation: pool of objects, then pairs of (statement, question, answer).
RELATIONS = (
    ("city", (("{p} lives in {o}.", "Where does {p} live?", "{p} lives in {o}."),
              ("{p} moved to {o}.", "To which city did {p} move?", "{p} moved to {o}."),
              ("{p} was born in {o}.", "Where was {p} born?", "{p} was born in {o}."),
              ("{p} has a house in {o}.", "Where does {p} have a house?", "{p} has a house in {o}."))),
    ("job", (("{p} works as a {o}.", "What does {p} do for a living?", "{p} works as a {o}."),
             ("{p} became a {o}.", "What did {p} become?", "{p} became a {o}."),
             ("By trade, {p} is a {o}.", "What is the trade of {p}?", "By trade, {p} is a {o}."),
             ("{p} earns a living as a {o}.", "How does {p} earn a living?", "{p} earns a living as a {o}."))),
    ("colour", (("The favourite colour of {p} is {o}.", "What is the favourite colour of {p}?",
                 "The favourite colour of {p} is {o}."),
                ("{p} always wears {o}.", "Which colour does {p} always wear?", "{p} always wears {o}."),
                ("The door of {p} is {o}.", "What colour is the door of {p}?", "The door of {p} is {o}."),
                ("{p} painted the boat {o}.", "What colour did {p} paint the boat?", "{p} painted the boat {o}."))),
    ("pet", (("{p} keeps a {o}.", "Which animal does {p} keep?", "{p} keeps a {o}."),
             ("{p} owns a {o}.", "Which animal does {p} own?", "{p} owns a {o}."),
             ("{p} bought a {o}.", "Which animal did {p} buy?", "{p} bought a {o}."),
             ("{p} is fond of the {o}.", "Which animal is {p} fond of?", "{p} is fond of the {o}."))),
)
