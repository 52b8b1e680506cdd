/** The applications of the benches, as the Parrot paper describes them. Lengths are in tokens of four characters. */
import type { Criteria } from "../../../src/graph/criteria.ts";
import type { Caller, Output } from "./caller.ts";
import type { Texts } from "./texts.ts";

/** Lengths of a chain or map-reduce summary. */
export interface SummaryShape {
  chunks: number;
  chunkTokens: number;
  outputTokens: number;
}

/** Summarises chunk after chunk, each with the summary so far. */
export async function chainSummary(
  caller: Caller,
  texts: Pick<Texts, "article" | "system" | "query">,
  shape: SummaryShape,
): Promise<string> {
  const task =
    "Write a short summary of the text below, taking into account the summary so far.\nText: ";
  let summary: Output | undefined;
  for (let i = 0; i < shape.chunks; i++) {
    const chunk = texts.article(i, shape.chunkTokens);
    summary = summary
      ? caller.call(
        [task, chunk, "\nSummary so far: ", summary, "\nNew summary: "],
        shape.outputTokens,
      )
      : caller.call([task, chunk, "\nSummary: "], shape.outputTokens);
  }
  return await caller.read(summary!, "latency");
}

/** Summarises chunks side by side, then the summaries together. */
export async function mapReduce(
  caller: Caller,
  texts: Pick<Texts, "article" | "system" | "query">,
  shape: SummaryShape,
  criteria: Criteria = "latency",
): Promise<string> {
  const summaries: Output[] = [];
  for (let i = 0; i < shape.chunks; i++) {
    const chunk = texts.article(i, shape.chunkTokens);
    summaries.push(
      caller.call([`Summarise this text.\nText: ${chunk}\nSummary: `], shape.outputTokens),
    );
  }
  const parts = summaries.flatMap((summary) => [summary, "\n"]);
  const end = caller.call(
    ["Combine these summaries into one.\n", ...parts, "Summary: "],
    shape.outputTokens,
  );
  return await caller.read(end, criteria);
}

/** Lengths of a chat service with one long system prompt. */
export interface SharedPromptShape {
  users: number;
  systemTokens: number;
  queryTokens: number;
  outputTokens: number;
}

/** Users of one assistant ask at the same time, behind the same system prompt. */
export async function sharedPrompt(
  caller: Caller,
  texts: Pick<Texts, "article" | "system" | "query">,
  shape: SharedPromptShape,
): Promise<string[]> {
  const system = texts.system(shape.systemTokens);
  const answers = Array.from(
    { length: shape.users },
    (_, user) =>
      caller.call(
        [system, `\nUser: ${texts.query(user, shape.queryTokens)}\nAssistant: `],
        shape.outputTokens,
      ),
  );
  return await Promise.all(answers.map((answer) => caller.read(answer, "latency")));
}

/** Lengths of the programming team. */
export interface TeamShape {
  coders: number;
  rounds: number;
  designTokens: number;
  codeTokens: number;
  reviewTokens: number;
}

/**
 * An architect designs files, coders write one each, and for some rounds every file gets a reviewer who reads all of
 * them, and a coder who rewrites it by the reviews.
 */
export async function multiAgent(
  caller: Caller,
  texts: Pick<Texts, "article" | "system" | "query">,
  shape: TeamShape,
): Promise<string[]> {
  const task = texts.query(0, 100);
  const design = caller.call(
    [`You are a system architect. List the files and their functions.\nTask: ${task}\nDesign: `],
    shape.designTokens,
  );
  const files = Array.from({ length: shape.coders }, (_, i) => i);
  let code = files.map((i) =>
    caller.call(
      [
        "You are an expert programmer. Implement the design.\n",
        design,
        `\nWrite file ${i}.\nCode: `,
      ],
      shape.codeTokens,
    )
  );
  for (let round = 0; round < shape.rounds; round++) {
    const codebase = code.flatMap((file, i) => [`\nFile ${i}:\n`, file]);
    const reviews = files.map((i) =>
      caller.call(
        ["Codebase of the project.\n", design, ...codebase, `\nReview file ${i}.\nComments: `],
        shape.reviewTokens,
      )
    );
    code = files.map((i) =>
      caller.call(
        [
          "Codebase of the project.\n",
          design,
          ...codebase,
          `\nRevise file ${i} by these comments.\n`,
          reviews[i],
          "\nCode: ",
        ],
        shape.codeTokens,
      )
    );
  }
  return await Promise.all(code.map((file) => caller.read(file, "latency")));
}
