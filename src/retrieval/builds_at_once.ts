/**
 * Layers whose indexes are built at the same time: a layer's heads take a core each, and one more layer fills the gaps that the end of
 * another leaves. One where there are no more cores than heads, since each layer takes working memory.
 */
export function buildsAtOnce(kvHeads: number, cores = navigator.hardwareConcurrency): number {
  return cores <= kvHeads ? 1 : Math.ceil(cores / kvHeads) + 1;
}
