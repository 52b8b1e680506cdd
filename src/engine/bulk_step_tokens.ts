/**
 * Tokens of a step with bulk prompts beside decoding latency work on a software adapter.
 *
 * There prompt tokens cost their arithmetic from the first on, so bulk prompts keep chats waiting. Simulated with a
 * 2-core llvmpipe's costs, 6 chats beside 3 jobs of 4 prompts (a chat's ms a token, a job's seconds): 16 tokens 23.0 and 4.33,
 * 24 27.4 and 4.19, 32 30.7 and 4.19, 64 35.5 and 4.27, 128 35.8 and 4.19. The real engine on loaded cores puts them in the same order.
 */
export const bulkStepTokens = 24;
