//! Recall, keys scanned and queries a second, against the peers.

use std::time::Instant;

use sparrow_index::{AttentionIndex, BuildOptions, FlatIndex, Rows, VectorIndex, exact_neighbours};

#[cfg(feature = "usearch")]
use crate::peers::UsearchPeer;
use crate::peers::{Chosen, HnswPeer, IvfFlatPeer, Own, Peer, ivf_own};
use crate::report::Report;
use crate::sets::Head;

const K: usize = 100;
const WANTED: f64 = 0.95;

/// Where a method reaches the recall.
#[derive(Clone, Copy)]
struct Reached {
    recall: f64,
    /// Share of the keys scored.
    scanned: f64,
    /// Microseconds a query, one thread.
    micros: f64,
}

/// Raises the effort until the recall is there, then times that effort. None when it never is.
fn reach(peer: &dyn Peer, head: &Head, truth: &[u32]) -> Option<Reached> {
    let queries = head.test.chunks_exact(head.dim);
    let (count, keys) = (head.test.len() / head.dim, head.keys.len() / head.dim);
    let mut ids = Vec::new();
    for effort in peer.efforts(K) {
        let (mut common, mut scored) = (0, 0);
        for (query, truth) in queries.clone().zip(truth.chunks_exact(K)) {
            scored += peer.search(query, K, effort, &mut ids);
            common += ids.iter().filter(|id| truth.contains(id)).count();
        }
        let recall = common as f64 / (count * K) as f64;
        if recall < WANTED {
            continue;
        }
        // The median of single queries shrugs off what else the machine does.
        let mut times: Vec<f64> = queries
            .clone()
            .chain(queries.clone())
            .chain(queries.clone())
            .map(|query| {
                let start = Instant::now();
                peer.search(query, K, effort, &mut ids);
                start.elapsed().as_secs_f64() * 1e6
            })
            .collect();
        times.sort_by(f64::total_cmp);
        return Some(Reached {
            recall,
            scanned: scored as f64 / (count * keys) as f64,
            micros: times[times.len() / 2],
        });
    }
    None
}

/// Dimensions that hold 90 % of the variance of scores: the head's effective dimension.
fn effective_dimensions(head: &Head) -> usize {
    sparrow_index::score_spectrum(Rows { data: &head.keys, dim: head.dim }, Rows { data: &head.train, dim: head.dim })
        .iter()
        .scan(0.0, |sum, share| {
            *sum += share;
            Some(*sum)
        })
        .take_while(|sum| *sum < 0.9)
        .count()
        + 1
}

/// What the summary of all heads needs of one.
pub struct Summary {
    effective_dimensions: usize,
    scanned: Option<f64>,
    /// Against hnsw_rs, where that reaches the recall.
    scanned_ratio: Option<f64>,
    qps_ratio: Option<f64>,
}

/// Rows over all heads: medians, and the least of the speed ratios.
pub fn summarise(summaries: &[Summary], report: &mut Report) {
    let median = |values: Vec<f64>| {
        let mut sorted = values;
        sorted.sort_by(f64::total_cmp);
        let middle = sorted.len() / 2;
        (!sorted.is_empty())
            .then(|| if sorted.len() % 2 == 1 { sorted[middle] } else { 0.5 * (sorted[middle - 1] + sorted[middle]) })
    };
    let low = |summary: &&Summary| summary.effective_dimensions <= 20;
    let scanned = median(summaries.iter().filter_map(|s| s.scanned).collect());
    let ratio = median(summaries.iter().filter_map(|s| s.scanned_ratio).collect());
    let least = |values: Vec<f64>| values.into_iter().min_by(f64::total_cmp);
    let least_low = least(summaries.iter().filter(low).filter_map(|s| s.qps_ratio).collect());
    let least_high = least(summaries.iter().filter(|s| !low(s)).filter_map(|s| s.qps_ratio).collect());
    for (metric, value, unit) in [
        ("scanned_at_recall95_median", scanned, "%"),
        ("scanned_ratio_vs_hnsw_median", ratio, ""),
        ("qps_ratio_vs_best_peer_least_to_20_dims", least_low, ""),
        ("qps_ratio_vs_best_peer_least_beyond", least_high, ""),
    ] {
        if let Some(value) = value {
            report.row("all", metric, value, unit, None);
        }
    }
}

/// Measures one head.
pub fn measure(head: &Head, report: &mut Report) -> Result<Summary, String> {
    let dim = head.dim;
    let (keys, train, test) =
        (Rows { data: &head.keys, dim }, Rows { data: &head.train, dim }, Rows { data: &head.test, dim });
    let truth = exact_neighbours(keys, test, K);
    let dimensions = effective_dimensions(head);
    report.note(&format!("{}: {} keys of {dim}, {dimensions} effective dimensions", head.name, keys.len()));
    report.row(&head.name, "effective_dimensions", dimensions as f64, "", None);

    let start = Instant::now();
    let chosen = AttentionIndex::build(keys, train, &BuildOptions::default()).map_err(|error| error.to_string())?;
    let build = start.elapsed().as_secs_f64();
    report.row(&head.name, "build_s", build, "s", None);
    report.row(&head.name, "bytes_per_key", chosen.bytes() as f64 / keys.len() as f64, "B", None);
    report.note(&format!("  chosen by cost: {:?}", chosen.strategy()));
    let chosen = Chosen::new(chosen);
    // The engine's choice goes by time; the graph is what looks at the fewest keys.
    let only = BuildOptions { strategies: vec!["graph"], ..BuildOptions::default() };
    let start = Instant::now();
    let graph = AttentionIndex::build(keys, train, &only).map_err(|error| error.to_string())?;
    report.row(&head.name, "graph_build_s", start.elapsed().as_secs_f64(), "s", None);
    report.row(&head.name, "graph_bytes_per_key", graph.bytes() as f64 / keys.len() as f64, "B", None);
    let graph = Own("graph", graph);
    let start = Instant::now();
    let hnsw = HnswPeer::build(keys, train);
    let hnsw_build = start.elapsed().as_secs_f64();
    report.row(&head.name, "build_ratio_vs_hnsw", build / hnsw_build, "", Some(("hnsw_rs", hnsw_build / build)));
    #[cfg(feature = "usearch")]
    let usearch = UsearchPeer::build(keys)?;
    let (inverted, own_inverted) = (IvfFlatPeer::build(keys), ivf_own(keys));
    let flat = Own("flat exact", FlatIndex::build(keys));

    let mut found = Vec::new();
    let all: Vec<&dyn Peer> = vec![
        &chosen,
        &graph,
        &hnsw,
        #[cfg(feature = "usearch")]
        &usearch,
        &inverted,
        &own_inverted,
        &flat,
    ];
    for peer in all {
        let reached = reach(peer, head, &truth);
        let text = reached.map_or("never reaches recall 0.95".into(), |r| {
            format!("recall {:.4}, {:.2} % scanned, {:.0} us a query", r.recall, r.scanned * 100.0, r.micros)
        });
        report.note(&format!("  {:10} {text}", peer.name()));
        found.push((peer.name(), reached));
    }
    let of = |name: &str| found.iter().find(|entry| entry.0 == name).and_then(|entry| entry.1);
    let mut summary = Summary { effective_dimensions: dimensions, scanned: None, scanned_ratio: None, qps_ratio: None };
    if let Some(own) = of("graph") {
        report.row(&head.name, "scanned_at_recall95", own.scanned * 100.0, "%", None);
        let (peer, theirs) = match of("hnsw_rs") {
            Some(hnsw) => ("hnsw_rs", hnsw.scanned),
            None => ("flat exact: hnsw_rs never got there", 1.0),
        };
        report.row(&head.name, "scanned_ratio_vs_hnsw", own.scanned / theirs, "", Some((peer, theirs / own.scanned)));
        summary.scanned = Some(own.scanned * 100.0);
        summary.scanned_ratio = of("hnsw_rs").map(|hnsw| own.scanned / hnsw.scanned);
    }
    let best = ["hnsw_rs", "usearch", "ivf-flat"]
        .into_iter()
        .filter_map(|name| of(name).map(|reached| (name, reached.micros)))
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .or(of("flat exact").map(|reached| ("flat exact", reached.micros)));
    if let (Some(own), Some((peer, theirs))) = (of("chosen"), best) {
        report.row(&head.name, "search_us", own.micros, "us", Some((peer, theirs / own.micros)));
        report.row(&head.name, "qps_ratio_vs_best_peer", theirs / own.micros, "", Some((peer, theirs / own.micros)));
        summary.qps_ratio = Some(theirs / own.micros);
    }
    if let (Some(own), Some(ivf)) = (of("chosen"), of("ivf, our kernels")) {
        let ratio = ivf.micros / own.micros;
        report.row(&head.name, "qps_ratio_vs_own_ivf", ratio, "", Some(("ivf, our kernels", ratio)));
    }
    Ok(summary)
}
