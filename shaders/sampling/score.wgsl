// Natural logarithms of the probabilities that a row's logits give: to one wanted token, and to the likeliest ones. One workgroup a row.
//
// The logits are read once. Each lane walks spans of CHUNK values that lie GROUP apart; of each it keeps the greatest, and adds exponentials up
// span by span, so that a long vocabulary costs no precision. The likeliest tokens then come one by one: the greatest of what the spans keep,
// whose span is searched for the one that comes after it. With CHUNK about the square root of the vocabulary a token costs two walks of
// that length, and all of them together no more than the first pass. Equal logits come in the order of their ids; NaN is never listed.

struct Scored {
  sample: u32,  // whose logits
  wanted: u32,  // a token, or SAMPLED
  top: u32,     // how many of the likeliest tokens, at most TOP
  place: u32,   // which of `scores`
}

override VOCABULARY: u32;
override LOGITS_PER_ROW: u32;
override GROUP: u32 = 256u;
override CHUNK: u32;
override SPANS: u32;  // of a lane
override TOP: u32;

const SAMPLED = 0xffffffffu;  // what was chosen from the row's logits in this step
const NONE = 0xffffffffu;
const LOWEST = -3.4e38;

@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(5) var<storage, read> sampled: array<u32>;
@group(0) @binding(7) var<storage, read> scored: array<Scored>;
@group(0) @binding(8) var<storage, read_write> scores: array<vec2<u32>>;  // per place 1 + TOP: token, bits of its log probability

// An entry: a logit as a number that rises with it, 0 for none, and its token.
var<workgroup> spans: array<vec2<u32>, GROUP * SPANS>;
var<workgroup> entries: array<vec2<u32>, GROUP>;
var<workgroup> partial: array<vec2<f32>, GROUP>;

fn entry(logit: f32, token: u32) -> vec2<u32> {
  let bits = bitcast<u32>(logit);
  if ((bits & 0x7fffffffu) > 0x7f800000u) {
    return vec2<u32>(0u, NONE);
  }
  // 0 and -0 are equal.
  let rising = select(bits | 0x80000000u, ~bits, bits > 0x80000000u);
  return vec2<u32>(rising, token);
}

fn logit_of(rising: u32) -> f32 {
  return bitcast<f32>(select(~rising, rising & 0x7fffffffu, rising >= 0x80000000u));
}

fn before(a: vec2<u32>, b: vec2<u32>) -> bool {
  return a.x > b.x || (a.x == b.x && a.y < b.y);
}

fn first_of_all(own: u32, mine: vec2<u32>) -> vec2<u32> {
  workgroupBarrier();
  entries[own] = mine;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half && before(entries[own + half], entries[own])) {
      entries[own] = entries[own + half];
    }
    workgroupBarrier();
  }
  return entries[0];
}

// The sum of exponentials of two parts, each below its greatest: (greatest, sum).
fn joined(a: vec2<f32>, b: vec2<f32>) -> vec2<f32> {
  let top = max(a.x, b.x);
  return vec2<f32>(top, a.y * exp(a.x - top) + b.y * exp(b.x - top));
}

@compute @workgroup_size(GROUP)
fn score(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  let own = local.x;
  let request = scored[group_id.x];
  let start = request.sample * LOGITS_PER_ROW;

  var mass = vec2<f32>(LOWEST, 0.0);
  for (var span = 0u; span < SPANS; span++) {
    let begin = span * CHUNK * GROUP + own;
    let end = min(begin + CHUNK * GROUP, VOCABULARY);
    var first = vec2<u32>(0u, NONE);
    for (var i = begin; i < end; i += GROUP) {
      let next = entry(logits[start + i], i);
      if (next.x > first.x) {
        first = next;
      }
    }
    let top = select(LOWEST, max(LOWEST, logit_of(first.x)), first.x > 0u);
    var sum = 0.0;
    for (var i = begin; i < end; i += GROUP) {
      sum += exp(logits[start + i] - top);
    }
    mass = joined(mass, vec2<f32>(top, sum));
    spans[span * GROUP + own] = first;
  }
  partial[own] = mass;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half) {
      partial[own] = joined(partial[own], partial[own + half]);
    }
    workgroupBarrier();
  }
  let greatest = partial[0].x;
  let log_sum = log(partial[0].y);

  let place = request.place * (TOP + 1u);
  if (own == 0u) {
    var token = request.wanted;
    if (token == SAMPLED) {
      token = sampled[request.sample];
    }
    // Nothing was chosen where no logit is a number.
    let logit = logits[start + min(token, VOCABULARY - 1u)];
    scores[place] = vec2<u32>(token, bitcast<u32>(logit - greatest - log_sum));
  }
  for (var rank = 1u; rank <= request.top; rank++) {
    var mine = vec2<u32>(0u, NONE);
    for (var span = 0u; span < SPANS; span++) {
      let other = spans[span * GROUP + own];
      if (before(other, mine)) {
        mine = other;
      }
    }
    let first = first_of_all(own, mine);
    let lane = first.y % GROUP;
    let span = min(first.y / (CHUNK * GROUP), SPANS - 1u);
    let begin = span * CHUNK * GROUP + lane;
    let end = min(begin + CHUNK * GROUP, VOCABULARY);
    var after = vec2<u32>(0u, NONE);
    for (var i = begin + own * GROUP; i < end; i += GROUP * GROUP) {
      let other = entry(logits[start + i], i);
      if (before(first, other) && before(other, after)) {
        after = other;
      }
    }
    after = first_of_all(own, after);
    if (own == 0u) {
      spans[span * GROUP + lane] = after;
      scores[place + rank] = vec2<u32>(first.y, bitcast<u32>(logit_of(first.x) - greatest - log_sum));
    }
    workgroupBarrier();
  }
}
