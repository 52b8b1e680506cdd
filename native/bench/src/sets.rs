//! Heads to measure on: real post-RoPE queries and keys from a file, and a made one with the traits of a long context.

use sparrow_index::Rng;

/// One KV head.
pub struct Head {
    /// Name in bench rows.
    pub name: String,
    pub dim: usize,
    /// `[keys, dim]`.
    pub keys: Vec<f32>,
    /// Queries that may be used for building, `[count, dim]`.
    pub train: Vec<f32>,
    /// Queries used for measuring alone: those of a token's `group` heads follow each other.
    pub test: Vec<f32>,
    /// Query heads that share the keys.
    pub group: usize,
    /// `[keys, dim]`.
    pub values: Vec<f32>,
}

/// The real heads of `folder`: 64 windows of 512 tokens of a 3M-parameter model, of which 12 are held out for measuring.
pub fn real(folder: &str, tests: usize) -> Result<Vec<Head>, String> {
    let path = format!("{folder}/attention_vectors/bitllama3m_layer2.npz");
    let file = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
    let (key_shape, keys) = array(&file, "K.npy")?;
    let (query_shape, queries) = array(&file, "Q.npy")?;
    let (Ok([windows, window, kv_heads, dim]), Ok([_, _, query_heads, _])) =
        (<[usize; 4]>::try_from(key_shape), <[usize; 4]>::try_from(query_shape))
    else {
        return Err(format!("{path}: expected four-dimensional arrays"));
    };
    let held = Rng::new(1).sample(windows, 12);
    let group = query_heads / kv_heads;
    let mut heads = Vec::new();
    for kv in 0..kv_heads {
        let row =
            |all: &[f32], heads: usize, token: usize, head: usize| all[(token * heads + head) * dim..][..dim].to_vec();
        let own_keys: Vec<f32> = (0..windows * window).flat_map(|token| row(&keys, kv_heads, token, kv)).collect();
        let (mut train, mut test) = (Vec::new(), Vec::new());
        for token in 0..windows * window {
            let target = if held.contains(&((token / window) as u32)) { &mut test } else { &mut train };
            (0..group).for_each(|member| target.extend(row(&queries, query_heads, token, kv * group + member)));
        }
        let test: Vec<f32> = Rng::new(2)
            .sample(test.len() / (group * dim), tests / group)
            .iter()
            .flat_map(|token| test[*token as usize * group * dim..][..group * dim].to_vec())
            .collect();
        let values = made_values(&own_keys, dim);
        heads.push(Head { name: format!("bitllama_l2h{kv}"), dim, keys: own_keys, train, test, group, values });
    }
    Ok(heads)
}

/// Latest positions of a dump, which are no keys: decoding happens there.
const HELD_OUT: usize = 4096;
/// The first of these end the prompt: some of their queries build too, as the last of all.
const PROMPT_END: usize = 1024;

/// The heads of one layer of a model's dump (`layer<n>.{q,k,v}.npy`, half precision, `[heads, tokens, dim]`, after rotary
/// positions): queries of the latest positions measure, a sample of the others' builds, as it is when a model decodes.
pub fn dumped(folder: &str, layer: usize, tests: usize) -> Result<Vec<Head>, String> {
    let load = |part: &str| -> Result<([usize; 3], Vec<f32>), String> {
        let path = format!("{folder}/layer{layer}.{part}.npy");
        let bytes = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
        let (shape, values) = numpy(&bytes).ok_or_else(|| format!("{path}: no half-precision array"))?;
        let shape =
            <[usize; 3]>::try_from(shape).map_err(|shape| format!("{path}: shape {shape:?}, expected three"))?;
        Ok((shape, values))
    };
    let ([query_heads, tokens, dim], queries) = load("q")?;
    let ([kv_heads, key_tokens, key_dim], keys) = load("k")?;
    let (value_shape, values) = load("v")?;
    let good = tokens == key_tokens && dim == key_dim && value_shape == [kv_heads, tokens, dim];
    if !good || kv_heads == 0 || !query_heads.is_multiple_of(kv_heads) || tokens < 2 * HELD_OUT {
        return Err(format!("{folder}: layer {layer} has shapes that do not fit, or too few tokens"));
    }
    let (group, count) = (query_heads / kv_heads, tokens - HELD_OUT);
    let mut trained = Rng::new(4).sample(count, (count / 8).max(4096) / group);
    trained.extend(Rng::new(3).sample(PROMPT_END, 64).iter().map(|at| at + count as u32));
    let tested = Rng::new(2).sample(HELD_OUT - PROMPT_END, tests / group);
    let tested: Vec<u32> = tested.iter().map(|at| at + (count + PROMPT_END) as u32).collect();
    let heads = (0..kv_heads).map(|kv| {
        let rows = |all: &[f32], head: usize, from: usize, to: usize| {
            all[(head * tokens + from) * dim..(head * tokens + to) * dim].to_vec()
        };
        let queries = &queries;
        let taken = |positions: &[u32]| -> Vec<f32> {
            let of = |at: usize| (0..group).flat_map(move |member| rows(queries, kv * group + member, at, at + 1));
            positions.iter().flat_map(|at| of(*at as usize)).collect()
        };
        Head {
            name: format!("lm{}k_l{layer}h{kv}", tokens / 1024),
            dim,
            keys: rows(&keys, kv, 0, count),
            train: taken(&trained),
            test: taken(&tested),
            group,
            values: rows(&values, kv, 0, count),
        }
    });
    Ok(heads.collect())
}

/// Layers of a dump, ascending.
pub fn dumped_layers(folder: &str) -> Result<Vec<usize>, String> {
    let entries = std::fs::read_dir(folder).map_err(|error| format!("{folder}: {error}"))?;
    let number = |name: String| name.strip_prefix("layer")?.strip_suffix(".q.npy")?.parse().ok();
    let mut layers: Vec<usize> =
        entries.filter_map(|entry| number(entry.ok()?.file_name().to_string_lossy().into_owned())).collect();
    layers.sort_unstable();
    if layers.is_empty() { Err(format!("{folder}: no layer<n>.q.npy")) } else { Ok(layers) }
}

/// Values for keys that come without: a common part, a part that follows the key, and noise. (Values of trained models have
/// all three; with noise alone the output of diffuse attention is noise too, and relative errors mean nothing.)
fn made_values(keys: &[f32], dim: usize) -> Vec<f32> {
    let mut rng = Rng::new(77);
    let common: Vec<f32> = (0..dim).map(|_| rng.normal()).collect();
    let map: Vec<f32> = (0..dim * dim).map(|_| rng.normal() / dim as f32).collect();
    let mut values = Vec::with_capacity(keys.len());
    for key in keys.chunks_exact(dim) {
        for j in 0..dim {
            let follows: f32 = key.iter().zip(&map[j * dim..]).map(|(k, m)| k * m).sum();
            values.push(common[j] + follows + 0.5 * rng.normal());
        }
    }
    values
}

/// A made head of `count` keys of 64: content vectors by token and topic, with a power-law spectrum, on a constant offset,
/// with heavy-tailed norms, rotated by position (RoPE). Queries live where keys vary little (so they are far from the key
/// cloud) and want their own content, the successor of an earlier occurrence of their token, or their topic. Strong score
/// directions turn slowly, so content matches at any distance. The query scale makes the best thousand of 128K keys hold
/// about 0.89 of the softmax mass, the figure of RetrievalAttention section 2.3.
pub fn made(count: usize, train: usize, tests: usize, seed: u64) -> Head {
    const DIM: usize = 64;
    const CONTENT: usize = 48;
    let mut rng = Rng::new(seed);
    let vocabulary = 16_384;
    let tokens: Vec<f32> = (0..vocabulary * CONTENT).map(|_| rng.normal()).collect();
    let topics: Vec<f32> = (0..200 * CONTENT).map(|_| rng.normal()).collect();
    let total = count + 4096;
    let (content, token, topic) = stream(&mut rng, total, CONTENT, &tokens, &topics);
    // Directions of content in the head: the first 32 (largest score weight) in slow pairs, the others in fast ones.
    let (slow, fast) = (orthogonal(&mut rng, 32), orthogonal(&mut rng, 32));
    let place = |direction: usize, row: usize| -> (usize, f32) {
        let (basis, low, half) = if direction < 32 { (&slow, 16, 16) } else { (&fast, 0, 16) };
        let lane = if row < half { low + row } else { 32 + low + row - half };
        (lane, basis[row * 32 + direction % 32])
    };
    let strength: Vec<f32> = (1..=CONTENT).map(|j| (j as f32).powf(-0.6)).collect();
    let norm = (strength.iter().map(|s| s * s).sum::<f32>() / CONTENT as f32).sqrt();
    let strength: Vec<f32> = strength.iter().map(|s| s / norm * 0.9).collect();
    let embed = |weights: &dyn Fn(usize) -> f32| -> Vec<f32> {
        let mut out = vec![0f32; DIM];
        for direction in 0..CONTENT {
            let weight = weights(direction);
            for row in 0..32 {
                let (lane, factor) = place(direction, row);
                out[lane] += factor * weight;
            }
        }
        out
    };
    let offset: Vec<f32> = (0..DIM).map(|j| if j % 32 >= 20 { 2.2 * rng.normal() } else { 0.0 }).collect();
    let mut keys = Vec::with_capacity(count * DIM);
    for position in 0..count {
        let tail = 1.0 + 0.05 * (rng.normal() / (rng.normal().powi(2) + 0.1).sqrt()).abs().min(20.0);
        let gain = (0.18 * rng.normal()).exp() * tail;
        let own = &content[position * CONTENT..];
        let mut key = embed(&|j| gain * own[j] * strength[j]);
        key.iter_mut().zip(&offset).for_each(|(k, o)| *k += o);
        rotate(&mut key, position);
        keys.extend(key);
    }
    let mut successor = vec![u32::MAX; vocabulary];
    let mut induction: Vec<usize> = (0..total).collect();
    for position in 0..total - 1 {
        if successor[token[position]] != u32::MAX {
            induction[position] = successor[token[position]] as usize;
        }
        successor[token[position]] = position as u32 + 1;
    }
    let centre: Vec<f32> = offset.iter().map(|o| -0.35 * o + 0.4 * rng.normal()).collect();
    let mut query = |position: usize| -> Vec<f32> {
        let kind = rng.below(100);
        let wanted: Vec<f32> = (0..CONTENT)
            .map(|j| {
                let base = match kind {
                    0..45 => content[position * CONTENT + j],
                    45..80 => content[induction[position] * CONTENT + j],
                    _ => topics[topic[position] * CONTENT + j],
                };
                base + 0.35 * rng.normal()
            })
            .collect();
        let norm = (wanted.iter().map(|x| x * x).sum::<f32>() / CONTENT as f32).sqrt();
        let mut query = embed(&|j| 7.0 * wanted[j] / norm * ((j + 1) as f32).powf(-0.5) / strength[j]);
        query.iter_mut().zip(&centre).for_each(|(q, c)| *q += c);
        rotate(&mut query, position);
        query
    };
    let trained = Rng::new(seed ^ 1).sample(count, train);
    let train = trained.iter().flat_map(|position| query(*position as usize)).collect();
    let tested = Rng::new(seed ^ 2).sample(4096, tests);
    let test = tested.iter().flat_map(|position| query(count + *position as usize)).collect();
    let values = made_values(&keys, DIM);
    let name = if count >= 1 << 20 { "synthetic1m_l0" } else { "synthetic128k_l0" };
    Head { name: name.into(), dim: DIM, keys, train, test, group: 4, values }
}

/// Content of a text-like stream: documents with a topic each, Zipf-distributed tokens that differ between topics, the
/// previous token leaking in. Returns (content, token, topic) by position.
fn stream(
    rng: &mut Rng,
    total: usize,
    width: usize,
    tokens: &[f32],
    topics: &[f32],
) -> (Vec<f32>, Vec<usize>, Vec<usize>) {
    let vocabulary = tokens.len() / width;
    // Inverse of the harmonic distribution: uniform in the logarithm of the rank.
    let zipf = |rng: &mut Rng| {
        ((vocabulary as f64).powf(rng.below(1 << 24) as f64 / (1 << 24) as f64) as usize - 1).min(vocabulary - 1)
    };
    let (mut content, mut token, mut topic) = (Vec::with_capacity(total * width), Vec::new(), Vec::new());
    let (mut left, mut current) = (0, 0);
    for position in 0..total {
        if left == 0 {
            current = rng.below(topics.len() / width);
            left = 64 + (-900.0 * (1.0 - rng.below(1 << 24) as f64 / (1 << 24) as f64).ln()) as usize;
        }
        left -= 1;
        let common = zipf(rng);
        // Sixty in a hundred tokens are the topic's own: the common rank, moved by an odd step.
        let id = if rng.below(100) < 40 { common } else { (common + current * 4099) % vocabulary };
        let previous = if position == 0 { id } else { token[position - 1] };
        let row: Vec<f32> = (0..width)
            .map(|j| {
                0.65 * tokens[id * width + j]
                    + 0.5 * topics[current * width + j]
                    + 0.3 * tokens[previous * width + j]
                    + 0.35 * rng.normal()
            })
            .collect();
        let norm = (row.iter().map(|x| x * x).sum::<f32>() / width as f32).sqrt();
        content.extend(row.iter().map(|x| x / norm));
        token.push(id);
        topic.push(current);
    }
    (content, token, topic)
}

/// A random orthogonal matrix (Gram-Schmidt), column j at `[row * size + j]`.
fn orthogonal(rng: &mut Rng, size: usize) -> Vec<f32> {
    let mut columns: Vec<Vec<f32>> = Vec::new();
    while columns.len() < size {
        let mut column: Vec<f32> = (0..size).map(|_| rng.normal()).collect();
        for other in &columns {
            let product: f32 = column.iter().zip(other).map(|(a, b)| a * b).sum();
            column.iter_mut().zip(other).for_each(|(a, b)| *a -= product * b);
        }
        let norm = column.iter().map(|x| x * x).sum::<f32>().sqrt();
        columns.push(column.iter().map(|x| x / norm).collect());
    }
    (0..size * size).map(|at| columns[at % size][at / size]).collect()
}

/// Rotary position embedding with base 500,000, halves paired.
fn rotate(row: &mut [f32], position: usize) {
    let half = row.len() / 2;
    for pair in 0..half {
        let angle = position as f64 * 500_000f64.powf(-(pair as f64) / half as f64);
        let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
        let (a, b) = (row[pair], row[pair + half]);
        row[pair] = a * cos - b * sin;
        row[pair + half] = a * sin + b * cos;
    }
}

/// A half-precision array of an uncompressed npz file: (shape, elements).
fn array(file: &[u8], name: &str) -> Result<(Vec<usize>, Vec<f32>), String> {
    let wrong = |what: &str| format!("npz entry {name}: {what}");
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
    let u32_at = |at: usize| u16_at(at) | u16_at(at + 2) << 16;
    // The central directory knows sizes and places; its end record has no comment here.
    let end = file.len().checked_sub(22).filter(|at| file[*at..].starts_with(b"PK\x05\x06"));
    let end = end.ok_or_else(|| wrong("no zip directory"))?;
    let mut at = u32_at(end + 16);
    for _ in 0..u16_at(end + 10) {
        let (method, size) = (u16_at(at + 10), u32_at(at + 24));
        let (name_len, extra, comment) = (u16_at(at + 28), u16_at(at + 30), u16_at(at + 32));
        if &file[at + 46..][..name_len] == name.as_bytes() {
            if method != 0 {
                return Err(wrong("compressed, expected stored"));
            }
            let local = u32_at(at + 42);
            let start = local + 30 + u16_at(local + 26) + u16_at(local + 28);
            return numpy(&file[start..][..size]).ok_or_else(|| wrong("no half-precision array"));
        }
        at += 46 + name_len + extra + comment;
    }
    Err(wrong("missing"))
}

fn numpy(bytes: &[u8]) -> Option<(Vec<usize>, Vec<f32>)> {
    let header_len = usize::from(u16::from_le_bytes([*bytes.get(8)?, *bytes.get(9)?]));
    let header = std::str::from_utf8(bytes.get(10..10 + header_len)?).ok()?;
    if !header.contains("'<f2'") || header.contains("'fortran_order': True") {
        return None;
    }
    let shape = header.split_once('(')?.1.split_once(')')?.0;
    let shape: Vec<usize> = shape.split(',').filter_map(|part| part.trim().parse().ok()).collect();
    let data = bytes[10 + header_len..].chunks_exact(2);
    let values: Vec<f32> =
        data.map(|pair| sparrow_kernels::f16::from_bits(u16::from_le_bytes([pair[0], pair[1]])).to_f32()).collect();
    (values.len() == shape.iter().product::<usize>()).then_some((shape, values))
}
