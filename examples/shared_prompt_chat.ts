/**
 * Many users of one assistant with a long system prompt. The prompt is filled once, whoever asks; each answer is
 * streamed as it is generated.
 *
 *     deno run -A examples/shared_prompt_chat.ts [http://127.0.0.1:8080]
 *
 * @module
 */
import {
  type GraphClientOptions,
  GraphSession,
  input,
  output,
  semanticFunction,
} from "../src/client/mod.ts";

const rules = Array.from(
  { length: 60 },
  (_, i) => `Rule ${i + 1}: be brief, be kind, and say so when something is not known.`,
).join("\n");

const assistant = semanticFunction`${input("system")}
User: ${input("question")}
Assistant: ${output("answer", { maxTokens: 48, stop: ["\nUser:"] })}`;

/** Asks all questions at once; resolves to the answers, and to the share of prompt tokens that had to be filled. */
export async function askTogether(
  questions: string[],
  options: GraphClientOptions = {},
  onPiece: (user: number, text: string) => void = () => {},
): Promise<{ answers: string[]; prefilledShare: number | null }> {
  await using session = new GraphSession(options);
  const system = session.variable("system", `You are an assistant.\n${rules}`);
  const answers = await Promise.all(questions.map(async (question, user) => {
    const { answer } = session.call(assistant, { system, question });
    let text = "";
    for await (const piece of answer.stream()) {
      onPiece(user, piece);
      text += piece;
    }
    return text;
  }));
  const { totals } = await session.describe();
  return { answers, prefilledShare: totals.prefilled_share };
}

if (import.meta.main) {
  const questions = ["What is a tide?", "What is a comet?", "What is a fjord?", "What is amber?"];
  const { answers, prefilledShare } = await askTogether(questions, { url: Deno.args[0] });
  answers.forEach((answer, i) => console.log(`${questions[i]} ${answer.trim()}`));
  console.log(`${((prefilledShare ?? 1) * 100).toFixed(0)} % of the prompt tokens were filled`);
}
