// Chooses the next token of each sampled row from its logits. One workgroup a row.
//
// Temperature first, then top-k, top-p and min-p, each as a threshold on the scaled logit: a token stays if it passes all of them (ties at a
// threshold all stay). Thresholds come from bisection over the ordered bits of the float, so there is no sort. The choice among the
// tokens left is the Gumbel-max trick: argmax of scaled logit + Gumbel noise is an exact draw from their softmax, in one pass
// and without a prefix sum. Noise is a hash of (seed, index, token): the same request draws the same text in any batch.

override VOCABULARY: u32;
override LOGITS_PER_ROW: u32;
override GROUP: u32 = 256u;

@group(0) @binding(3) var<storage, read> logits: array<f32>;
@group(0) @binding(5) var<storage, read_write> sampled: array<u32>;
@group(0) @binding(7) var<storage, read> samples: array<Sample>;
@group(0) @binding(13) var<storage, read_write> last_sampled: array<u32>;

const NONE = 0xffffffffu;

var<workgroup> partial: array<vec2<f32>, GROUP>;
var<workgroup> candidate: array<u32, GROUP>;
var<private> own: u32;

// Rising with the float it encodes; -0 and 0 are neighbours.
fn ordered(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn mix(value: u32) -> u32 {
  // lowbias32 (C. Wellons): full avalanche.
  var x = value;
  x ^= x >> 16u;
  x *= 0x7feb352du;
  x ^= x >> 15u;
  x *= 0x846ca68bu;
  x ^= x >> 16u;
  return x;
}

// Standard Gumbel noise from 32 random bits. -log(1 - w) keeps the precision of small w, where the largest noise comes from.
fn gumbel(bits: u32) -> f32 {
  let w = (f32(bits) + 0.5) * 2.3283064365386963e-10;
  let exponential = select(-log(1.0 - w), w + 0.5 * w * w, w < 1e-3);
  return -log(min(exponential, 80.0));
}

fn reduce_sum(value: vec2<f32>) -> vec2<f32> {
  workgroupBarrier();
  partial[own] = value;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half) {
      partial[own] += partial[own + half];
    }
    workgroupBarrier();
  }
  return partial[0];
}

// Token with the greatest value, the smallest id among equals; NONE if no value is finite or above -inf.
fn reduce_best(value: f32, token: u32) -> u32 {
  workgroupBarrier();
  partial[own].x = value;
  candidate[own] = token;
  workgroupBarrier();
  for (var half = GROUP / 2u; half > 0u; half /= 2u) {
    if (own < half) {
      let other = candidate[own + half];
      let mine = candidate[own];
      let better = partial[own + half].x > partial[own].x;
      let equal = partial[own + half].x == partial[own].x && other < mine;
      if (other != NONE && (mine == NONE || better || equal)) {
        partial[own].x = partial[own + half].x;
        candidate[own] = other;
      }
    }
    workgroupBarrier();
  }
  return candidate[0];
}

@compute @workgroup_size(GROUP)
fn sample(@builtin(local_invocation_id) local: vec3<u32>, @builtin(workgroup_id) group_id: vec3<u32>) {
  own = local.x;
  let request = samples[group_id.x];
  let start = group_id.x * LOGITS_PER_ROW;

  var best = -3.4e38;
  var token = NONE;
  for (var i = own; i < VOCABULARY; i += GROUP) {
    let logit = logits[start + i];
    if (logit > best) {
      best = logit;
      token = i;
    }
  }
  token = reduce_best(best, token);
  if (request.temperature > 0.0 && token != NONE) {
    token = draw(request, start, logits[start + token]);
  }
  if (own == 0u) {
    sampled[group_id.x] = token;
    if (token != NONE) {
      last_sampled[request.slot] = token;
    }
  }
}

fn draw(request: Sample, start: u32, top: f32) -> u32 {
  // Finite even for a denormal temperature: 0 times infinity would drop the top token.
  let inverse = min(1.0 / request.temperature, 1e30);
  var threshold = 0u;
  if (request.min_p > 0.0) {
    threshold = ordered(log(request.min_p));
  }
  if (request.top_k > 0u && request.top_k < VOCABULARY) {
    // Largest threshold that at least top_k tokens reach. The top token's scaled logit is 0.
    var low = 0u;
    var high = ordered(0.0);
    for (var bit = 0u; bit < 32u && low < high; bit++) {
      let middle = low + (high - low) / 2u + (high - low) % 2u;
      var count = 0.0;
      for (var i = own; i < VOCABULARY; i += GROUP) {
        count += select(0.0, 1.0, ordered((logits[start + i] - top) * inverse) >= middle);
      }
      if (u32(reduce_sum(vec2<f32>(count, 0.0)).x) >= request.top_k) {
        low = middle;
      } else {
        high = middle - 1u;
      }
    }
    threshold = max(threshold, low);
  }
  if (request.top_p < 1.0) {
    // Largest threshold whose tokens hold top_p of the mass that top-k left.
    let floor = threshold;
    var low = floor;
    var high = ordered(0.0);
    for (var bit = 0u; bit < 32u && low < high; bit++) {
      let middle = low + (high - low) / 2u + (high - low) % 2u;
      var mass = vec2<f32>(0.0);
      for (var i = own; i < VOCABULARY; i += GROUP) {
        let scaled = (logits[start + i] - top) * inverse;
        let key = ordered(scaled);
        if (key >= floor) {
          let p = exp(scaled);
          mass += vec2<f32>(select(0.0, p, key >= middle), p);
        }
      }
      mass = reduce_sum(mass);
      if (mass.x >= request.top_p * mass.y) {
        low = middle;
      } else {
        high = middle - 1u;
      }
    }
    threshold = max(threshold, low);
  }
  // The top token always passes.
  threshold = min(threshold, ordered(0.0));
  let stream = mix(request.seed ^ mix(request.index + 0x9e3779b9u));
  var best = -3.4e38;
  var token = NONE;
  for (var i = own; i < VOCABULARY; i += GROUP) {
    let scaled = (logits[start + i] - top) * inverse;
    if (ordered(scaled) >= threshold) {
      let score = scaled + gumbel(mix(stream ^ mix(i + 0x85ebca6bu)));
      if (score > best) {
        best = score;
        token = i;
      }
    }
  }
  return reduce_best(best, token);
}
