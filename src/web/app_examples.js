/** Applications to start from: bodies of `POST /v1/apps`. @module */

const notes = [
  "Mira works as a glazier. The access code of Mira is 4417. Rain fell on the harbour all morning.",
  "Otto moved to Bergen. The access code of Otto is 9052. The ferry was late and the quay stood empty.",
  "Selma keeps a lizard. The access code of Selma is 3361. Nobody had swept the yard since autumn.",
  "Hugo lives in Porto. The access code of Hugo is 7788. The lamps were lit before the shops closed.",
];

const people = ["Mira", "Otto", "Selma", "Hugo"];

/** @param {string} question */
const chat = (question) => `<|im_start|>user\n${question}<|im_end|>\n<|im_start|>assistant\n`;

/** @param {string} name @param {string} ref */
const inputOf = (name, ref) => ({ name, is_output: false, ref });

/** @param {string} name @param {string} ref @param {number} most */
const outputOf = (name, ref, most) => ({
  name,
  is_output: true,
  ref,
  sampling_config: { temperature: 0, max_gen_length: most },
  transforms: [{ kind: "trim" }],
});

const mapReduce = {
  variables: notes.map((content, i) => ({ ref: `note_${i}`, content })),
  calls: [
    ...notes.map((_, i) => ({
      func_name: "look_up",
      template: chat(`{{note}}\n\nWhat is the access code of ${people[i]}?`) + "{{fact}}",
      parameters: [inputOf("note", `note_${i}`), outputOf("fact", `fact_${i}`, 32)],
    })),
    {
      func_name: "collect",
      template: chat(
        `${notes.map((_, i) => `{{fact_${i}}}`).join("\n")}\n\nWhat is the access code of Selma?`,
      ) + "{{answer}}",
      parameters: [
        ...notes.map((_, i) => inputOf(`fact_${i}`, `fact_${i}`)),
        outputOf("answer", "answer", 32),
      ],
    },
  ],
  outputs: { answer: "latency" },
};

const chain = {
  variables: [{ ref: "list_0", content: "- harbour\n- window\n- candle\n- orchard" }],
  calls: [
    "Number the items.",
    "Reverse the list.",
    "Write the list as bullets.",
    "Summarise the list.",
  ]
    .map((request, i) => ({
      func_name: "rewrite",
      template: chat(`${request}\n\n{{before}}`) + "{{after}}",
      parameters: [inputOf("before", `list_${i}`), outputOf("after", `list_${i + 1}`, 40)],
    })),
  outputs: { list_4: "TTFT" },
};

const shared = {
  variables: [{ ref: "notes", content: notes.join("\n") }],
  calls: people.map((person, i) => ({
    func_name: "ask",
    template: chat(`{{notes}}\n\nWhat is the access code of ${person}?`) + "{{answer}}",
    parameters: [inputOf("notes", "notes"), outputOf("answer", `answer_${i}`, 32)],
  })),
  outputs: Object.fromEntries(people.map((_, i) => [`answer_${i}`, "latency"])),
};

/** Name, what to look at, and the body. */
export const examples = [
  {
    name: "Map-reduce",
    about: "Four notes are read side by side as one batch; a fifth call reads the four answers.",
    body: mapReduce,
  },
  {
    name: "Chain",
    about:
      "Each call rewrites the list that the one before wrote; the server starts it the moment its input is set.",
    body: chain,
  },
  {
    name: "Shared prompt",
    about: "Four questions about the same notes: the common beginning is filled once.",
    body: shared,
  },
];
