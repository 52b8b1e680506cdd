//! Plans of a layer's heads that together keep one budget.

use rayon::prelude::*;

use super::head::AttentionHead;
use super::plan::{First, Plan, Sample};

/// Part of a budget that sampled queries may use up: those to come are others.
const USED: f32 = 0.8;
/// The same for plans that go in steps, where the next one costs much more. (At 0.85 a layer of `sparrow-tiny` over 128K tokens whose bytes are 0.9 % off
/// took twice the time of the best exact scan for 0.6 %.)
const STEPPED: f32 = 0.95;
/// Times that thresholds are scaled.
const SCALED: usize = 6;

/// The cheapest plans, chosen on `few` queries of each head, whose error on the queries `measured` stays under `budget`, and the error that they
/// keep, which may be less. `first` are the heads' plans for their first budget, where this is another.
///
/// Heads are chosen by their own mean errors; the layer's is more where those of some are large. Then thresholds of clusters are scaled together, and
/// heads of other plans that add most get stricter ones, all keys in the end.
pub(super) fn plans_for(
    heads: &[AttentionHead],
    few: &[Sample<'_>],
    measured: &[Sample<'_>],
    first: &[Option<First>],
    budget: f32,
) -> (Vec<Plan>, f32) {
    let each = heads.par_iter().zip(few).zip(first);
    let mut plans: Vec<Plan> = each.map(|((head, few), first)| head.cheapest(*few, budget, *first)).collect();
    let whole = whole(measured);
    if whole.is_empty() {
        return (plans, budget);
    }
    let wrong_of = |head: usize, plan: Plan| wrong(&heads[head], plan, measured[head], budget, whole.len());
    let mut wrong: Vec<Vec<f32>> = plans.par_iter().enumerate().map(|(head, plan)| wrong_of(head, *plan)).collect();
    let mut goals = vec![budget; heads.len()];
    let (mut scaled, mut times) = (1f32, 0);
    loop {
        let error = error(&wrong, &whole);
        let ratio = USED * budget / error.max(1e-3 * budget);
        let worst = (0..heads.len())
            .max_by(|a, b| added(&wrong[*a], &whole).total_cmp(&added(&wrong[*b], &whole)))
            .filter(|worst| plans[*worst] != Plan::Exact);
        let by_clusters = |plan: &Plan| matches!(plan, Plan::Clusters { .. });
        // Never looser than each head by itself would be.
        let factor = ratio.clamp(0.4, 1.5).min(1.0 / scaled);
        let changed: Vec<usize> = if ratio >= 1.0 || worst.is_some_and(|worst| by_clusters(&plans[worst])) {
            if (1.0..1.1).contains(&ratio) || factor == 1.0 || times == SCALED {
                break;
            }
            times += 1;
            scaled *= factor;
            (0..heads.len()).filter(|head| by_clusters(&plans[*head])).collect()
        } else {
            let Some(worst) = worst.filter(|_| error > STEPPED * budget) else { break };
            vec![worst]
        };
        for head in &changed {
            if let Plan::Clusters { threshold, .. } = &mut plans[*head] {
                *threshold *= factor;
            } else {
                goals[*head] *= 0.6;
                let next = heads[*head].cheapest(few[*head], goals[*head], first[*head]);
                plans[*head] = if next == plans[*head] { Plan::Exact } else { next };
            }
        }
        let found: Vec<(usize, Vec<f32>)> =
            changed.into_par_iter().map(|head| (head, wrong_of(head, plans[head]))).collect();
        found.into_iter().for_each(|(head, found)| wrong[head] = found);
    }
    // What no threshold keeps.
    while error(&wrong, &whole) > STEPPED * budget {
        let some = (0..heads.len()).filter(|head| plans[*head] != Plan::Exact);
        let worst = some.max_by(|a, b| added(&wrong[*a], &whole).total_cmp(&added(&wrong[*b], &whole)));
        let Some(worst) = worst else { break };
        plans[worst] = Plan::Exact;
        wrong[worst].fill(0.0);
    }
    // Where nothing follows the budget, smaller ones are kept as well.
    let fixed = plans.iter().all(|plan| matches!(plan, Plan::Exact | Plan::Bytes { .. }));
    let holds = if fixed { (error(&wrong, &whole) / STEPPED).min(budget) } else { budget };
    (plans, holds)
}

/// Squares of the layer's output at each token of the samples.
fn whole(samples: &[Sample<'_>]) -> Vec<f32> {
    let tokens = samples.first().map_or(0, |sample| sample.truth.len() / sample.group);
    let mut whole = vec![0f32; tokens];
    for (i, truth) in samples.iter().flat_map(|sample| sample.truth.iter().enumerate()) {
        whole[i % tokens] += truth.output.iter().map(|x| x * x).sum::<f32>();
    }
    whole
}

/// Squares of the error of a head's output at each token.
fn wrong(head: &AttentionHead, plan: Plan, sample: Sample<'_>, budget: f32, tokens: usize) -> Vec<f32> {
    let mut wrong = vec![0f32; tokens];
    if plan == Plan::Exact {
        return wrong;
    }
    let found: Vec<f32> = (sample.queries.par_chunks_exact(head.index.dim))
        .zip(sample.truth)
        .map(|(query, truth)| {
            let found = &head.attend_by(plan, query, budget, false)[0].0;
            found.output.iter().zip(&truth.output).map(|(a, b)| (a - b).powi(2)).sum()
        })
        .collect();
    found.iter().enumerate().for_each(|(i, x)| wrong[i % tokens] += x);
    wrong
}

/// |found - truth| / |truth| of all heads' outputs together, the mean over tokens.
fn error(wrong: &[Vec<f32>], whole: &[f32]) -> f32 {
    let at = |token: usize| wrong.iter().map(|wrong| wrong[token]).sum::<f32>();
    let errors = whole.iter().enumerate().map(|(token, whole)| (at(token) / whole.max(f32::MIN_POSITIVE)).sqrt());
    errors.sum::<f32>() / whole.len() as f32
}

/// What a head adds to the squares of the error.
fn added(wrong: &[f32], whole: &[f32]) -> f32 {
    wrong.iter().zip(whole).map(|(wrong, whole)| wrong / whole.max(f32::MIN_POSITIVE)).sum()
}
