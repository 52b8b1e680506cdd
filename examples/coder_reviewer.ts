/**
 * A team of agents: an architect names files, a coder writes each, and for some rounds a reviewer comments on every
 * file with all of them in view and the coder rewrites it. All of it is one graph; the code that every reviewer
 * reads is held in the engine's memory once.
 *
 *     deno run -A examples/coder_reviewer.ts "a snake game" [http://127.0.0.1:8080]
 *
 * @module
 */
import {
  type GraphClientOptions,
  GraphSession,
  input,
  output,
  type RemoteVariable,
  semanticFunction,
} from "../src/client/mod.ts";

const fence = { kind: "regex", pattern: "^(?:```\\w*\\n)?([\\s\\S]*?)(?:```|$)" } as const;

const architect =
  semanticFunction`You are a software architect. Describe two files, logic.py and main.py.
Task: ${input("task")}
Design: ${output("design", { maxTokens: 120 })}`;

const coder = semanticFunction`You are a programmer. Implement the design.
Design: ${input("design")}
Write the file ${input("file")}.
${output("code", { maxTokens: 200, transforms: [fence] })}`;

const reviewer = semanticFunction`Code base:
${input("logic")}
${input("main")}
Review the file ${input("file")} in one sentence: ${
  output("review", { maxTokens: 40, transforms: [{ kind: "trim" }] })
}`;

const reviser = semanticFunction`Code base:
${input("logic")}
${input("main")}
Rewrite the file ${input("file")} following this review: ${input("review")}
${output("code", { maxTokens: 200, transforms: [fence] })}`;

/** Resolves to the files after `rounds` rounds of review. */
export async function developSoftware(
  task: string,
  options: GraphClientOptions = {},
  rounds = 2,
): Promise<Record<string, string>> {
  await using session = new GraphSession(options);
  const names = ["logic.py", "main.py"];
  const { design } = session.call(architect, { task });
  let files = names.map((file) => session.call(coder, { design, file }).code);
  for (let round = 0; round < rounds; round++) {
    const [logic, main]: RemoteVariable[] = files;
    files = names.map((file) => {
      const { review } = session.call(reviewer, { logic, main, file });
      return session.call(reviser, { logic, main, file, review }).code;
    });
  }
  const texts = await Promise.all(files.map((file) => file.get({ criteria: "latency" })));
  return Object.fromEntries(names.map((name, i) => [name, texts[i]]));
}

if (import.meta.main) {
  const [task, url] = Deno.args;
  for (const [name, text] of Object.entries(await developSoftware(task, { url }))) {
    console.log(`--- ${name}\n${text}`);
  }
}
