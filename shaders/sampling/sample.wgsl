// Chooses the next token of each sampled row from its logits. One workgroup a row.
//
// Temperature first, then top-k, top-p and min-p, each as a threshold on the scaled logit: a token stays if it passes all of them (ties at a
// threshold all stay). Thresholds are searched for among the ordered bits of the float, several at a time, so there is no sort; and, since the tokens that can pass are
// few as a rule, in a list of those within some distance of the top, which two passes over the logits make. The choice among the
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

// Thresholds of a pass of a search.
const WAYS = #(4 * QUADS)u;
// Distances from the top within which tokens may be listed, in nats (for top-k as they are at temperature 1 if it is lower), and how many tokens a list holds.
const NEAR = vec4<f32>(1.5, 3.0, 5.0, 7.0);
const FAR = vec4<f32>(9.0, 11.0, 14.0, 18.0);
const LIST = #(LIST)u;

var<workgroup> partial: array<vec4<f32>, GROUP>;
var<workgroup> candidate: array<u32, GROUP>;
var<workgroup> list_scaled: array<f32, LIST>;
var<workgroup> list_token: array<u32, LIST>;
var<private> own: u32;
// Found by `list_tokens`: the mass of all tokens, and keys between which the threshold is.
var<private> all_mass: f32;
var<private> least_key: u32;
var<private> most_key: u32;

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

fn reduce_sum(value: vec4<f32>) -> vec4<f32> {
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
  for (var first = own; first < VOCABULARY; first += #(LOADS)u * GROUP) {
    //#for u in 0..LOADS
    let logit_#u = logits[start + min(first + #(u)u * GROUP, VOCABULARY - 1u)];
    //#end
    //#for u in 0..LOADS
    if (logit_#u > best && first + #(u)u * GROUP < VOCABULARY) {
      best = logit_#u;
      token = first + #(u)u * GROUP;
    }
    //#end
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

// Sum of the values of the threads before this one.
fn reduce_before(value: u32) -> u32 {
  workgroupBarrier();
  candidate[own] = value;
  workgroupBarrier();
  for (var distance = 1u; distance < GROUP; distance *= 2u) {
    let other = select(0u, candidate[max(own, distance) - distance], own >= distance);
    workgroupBarrier();
    candidate[own] += other;
    workgroupBarrier();
  }
  return candidate[own] - value;
}

// Lists the tokens near the top that are at least `wanted`, or if that is 0 hold `share` of the mass; returns how many they are, 0 if more than a list holds.
fn list_tokens(start: u32, top: f32, inverse: f32, wanted: u32, share: f32) -> u32 {
  var near_by = NEAR;
  var far_by = FAR;
  if (wanted > 0u) {
    near_by *= max(1.0, inverse);
    far_by *= max(1.0, inverse);
    // All that are possible, should they be fewer than wanted: a mask leaves out most.
    far_by.w = 3e38;
  }
  var near = vec4<f32>(0.0);
  var far = vec4<f32>(0.0);
  var near_mass = vec4<f32>(0.0);
  var far_mass = vec4<f32>(0.0);
  var all = 0.0;
  for (var first = own; first < VOCABULARY; first += #(LOADS)u * GROUP) {
    //#for u in 0..LOADS
    let logit_#u = logits[start + min(first + #(u)u * GROUP, VOCABULARY - 1u)];
    //#end
    //#for u in 0..LOADS
    if (first + #(u)u * GROUP < VOCABULARY) {
      let scaled = (logit_#u - top) * inverse;
      let is_near = vec4<f32>(scaled) >= -near_by;
      let is_far = vec4<f32>(scaled) >= -far_by;
      near += select(vec4<f32>(0.0), vec4<f32>(1.0), is_near);
      far += select(vec4<f32>(0.0), vec4<f32>(1.0), is_far);
      if (wanted == 0u) {
        let p = exp(scaled);
        all += p;
        near_mass += select(vec4<f32>(0.0), vec4<f32>(p), is_near);
        far_mass += select(vec4<f32>(0.0), vec4<f32>(p), is_far);
      }
    }
    //#end
  }
  let near_count = reduce_sum(near);
  let far_count = reduce_sum(far);
  var near_enough = near_count >= vec4<f32>(f32(wanted));
  var far_enough = far_count >= vec4<f32>(f32(wanted));
  far_enough.w = true;
  if (wanted == 0u) {
    all_mass = reduce_sum(vec4<f32>(all)).x;
    let least = vec4<f32>(share * all_mass);
    near_enough = reduce_sum(near_mass) >= least;
    far_enough = reduce_sum(far_mass) >= least;
  }
  // The least distance that is enough, and the greatest that is not.
  least_key = 0u;
  most_key = ordered(0.0);
  var cut = -1.0;
  var count = 0.0;
  var mine = 0.0;
  //#for i in 0..4
  if (far_enough[#(3 - i)]) {
    cut = far_by[#(3 - i)];
    count = far_count[#(3 - i)];
    mine = far[#(3 - i)];
  }
  //#end
  //#for i in 0..4
  if (near_enough[#(3 - i)]) {
    cut = near_by[#(3 - i)];
    count = near_count[#(3 - i)];
    mine = near[#(3 - i)];
  } else {
    most_key = min(most_key, ordered(-near_by[#(3 - i)]));
  }
  if (!far_enough[#(3 - i)]) {
    most_key = min(most_key, ordered(-far_by[#(3 - i)]));
  }
  //#end
  if (cut >= 0.0) {
    least_key = ordered(-cut);
  }
  if (cut < 0.0 || count > f32(LIST)) {
    return 0u;
  }
  var place = reduce_before(u32(mine));
  for (var first = own; first < VOCABULARY; first += #(LOADS)u * GROUP) {
    //#for u in 0..LOADS
    let logit_#u = logits[start + min(first + #(u)u * GROUP, VOCABULARY - 1u)];
    //#end
    //#for u in 0..LOADS
    {
      let scaled = (logit_#u - top) * inverse;
      if (scaled >= -cut && first + #(u)u * GROUP < VOCABULARY) {
        list_scaled[place] = scaled;
        list_token[place] = first + #(u)u * GROUP;
        place++;
      }
    }
    //#end
  }
  workgroupBarrier();
  return u32(count);
}

fn draw(request: Sample, start: u32, top: f32) -> u32 {
  // Finite even for a denormal temperature: 0 times infinity would drop the top token.
  let inverse = min(1.0 / request.temperature, 1e30);
  var threshold = 0u;
  let top_k = select(0u, request.top_k, request.top_k < VOCABULARY);
  var listed = 0u;
  if (top_k > 0u || request.top_p < 1.0) {
    listed = list_tokens(start, top, inverse, top_k, request.top_p);
  }
  let tokens = select(VOCABULARY, listed, listed > 0u);
  if (top_k > 0u) {
    // Largest threshold that at least top_k tokens reach. The top token's scaled logit is 0.
    var low = least_key;
    var high = most_key;
    while (low < high) {
      let stride = (high - low) / (WAYS + 1u) + 1u;
      //#for q in 0..QUADS
      let threshold_#q = vec4<u32>(low) + stride * vec4<u32>(#(4 * q + 1)u, #(4 * q + 2)u, #(4 * q + 3)u, #(4 * q + 4)u);
      var count_#q = vec4<f32>(0.0);
      //#end
      for (var first = own; first < tokens; first += #(LOADS)u * GROUP) {
        //#for u in 0..LOADS
        let scaled_#u = scaled_of(start, top, inverse, listed, min(first + #(u)u * GROUP, tokens - 1u));
        //#end
        //#for u in 0..LOADS
        {
          let key = select(0u, ordered(scaled_#u), first + #(u)u * GROUP < tokens);
          //#for q in 0..QUADS
          count_#q += select(vec4<f32>(0.0), vec4<f32>(1.0), vec4<u32>(key) >= threshold_#q);
          //#end
        }
        //#end
      }
      //#for q in 0..QUADS
      {
        let count = reduce_sum(count_#q);
        //#for i in 0..4
        if (u32(count[#i]) >= top_k) {
          low = threshold_#q[#i];
        } else {
          high = min(high, threshold_#q[#i] - 1u);
        }
        //#end
      }
      //#end
    }
    threshold = max(threshold, low);
  }
  if (request.top_p < 1.0) {
    // Largest threshold whose tokens hold top_p of the mass that top-k left.
    let floor = threshold;
    var low = floor;
    var high = ordered(0.0);
    var wanted = -1.0;
    if (top_k == 0u) {
      low = max(floor, least_key);
      high = max(low, most_key);
      wanted = request.top_p * all_mass;
    }
    while (low < high) {
      let stride = (high - low) / (WAYS + 1u) + 1u;
      //#for q in 0..QUADS
      let threshold_#q = vec4<u32>(low) + stride * vec4<u32>(#(4 * q + 1)u, #(4 * q + 2)u, #(4 * q + 3)u, #(4 * q + 4)u);
      var mass_#q = vec4<f32>(0.0);
      //#end
      var all = 0.0;
      for (var first = own; first < tokens; first += #(LOADS)u * GROUP) {
        //#for u in 0..LOADS
        let scaled_#u = scaled_of(start, top, inverse, listed, min(first + #(u)u * GROUP, tokens - 1u));
        //#end
        //#for u in 0..LOADS
        {
          let key = ordered(scaled_#u);
          if (key >= floor && first + #(u)u * GROUP < tokens) {
            let p = exp(scaled_#u);
            all += p;
            //#for q in 0..QUADS
            mass_#q += select(vec4<f32>(0.0), vec4<f32>(p), vec4<u32>(key) >= threshold_#q);
            //#end
          }
        }
        //#end
      }
      if (wanted < 0.0) {
        wanted = request.top_p * reduce_sum(vec4<f32>(all)).x;
      }
      //#for q in 0..QUADS
      {
        let mass = reduce_sum(mass_#q);
        //#for i in 0..4
        if (mass[#i] >= wanted) {
          low = threshold_#q[#i];
        } else {
          high = min(high, threshold_#q[#i] - 1u);
        }
        //#end
      }
      //#end
    }
    threshold = max(threshold, low);
  }
  if (request.min_p > 0.0) {
    threshold = max(threshold, ordered(log(request.min_p)));
  }
  // The top token always passes.
  threshold = min(threshold, ordered(0.0));
  let stream = mix(request.seed ^ mix(request.index + 0x9e3779b9u));
  var best = -3.4e38;
  var token = NONE;
  for (var first = own; first < tokens; first += #(LOADS)u * GROUP) {
    //#for u in 0..LOADS
    let scaled_#u = scaled_of(start, top, inverse, listed, min(first + #(u)u * GROUP, tokens - 1u));
    //#end
    //#for u in 0..LOADS
    if (first + #(u)u * GROUP < tokens && ordered(scaled_#u) >= threshold) {
      var i = first + #(u)u * GROUP;
      if (listed > 0u) {
        i = list_token[i];
      }
      let score = scaled_#u + gumbel(mix(stream ^ mix(i + 0x85ebca6bu)));
      if (score > best || (score == best && i < token)) {
        best = score;
        token = i;
      }
    }
    //#end
  }
  return reduce_best(best, token);
}

// The scaled logit of token `i`, or where tokens are listed of the one in place `i`.
fn scaled_of(start: u32, top: f32, inverse: f32, listed: u32, i: u32) -> f32 {
  if (listed > 0u) {
    return list_scaled[i];
  }
  return (logits[start + i] - top) * inverse;
}
