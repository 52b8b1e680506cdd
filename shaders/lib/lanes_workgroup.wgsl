// The same exchanges through workgroup memory, for adapters without subgroups (or with subgroups under 8 lanes). Slower, same results:
// sums are taken in the same order.

const LANES = 8u;

// Set first thing by every entry point.
var<private> lane_id: u32;

var<workgroup> lane_values: array<vec4<f32>, 8>;

fn lane_pick4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  workgroupBarrier();
  lane_values[lane_id] = value;
  workgroupBarrier();
  return lane_values[lane];
}

fn lane_pick(value: u32, lane: u32) -> u32 {
  return bitcast<u32>(lane_pick4(vec4<f32>(bitcast<f32>(value), 0.0, 0.0, 0.0), lane).x);
}

fn lane_sum(value: f32) -> f32 {
  var total = value;
  total += lane_pick4(vec4<f32>(total), lane_id ^ 4u).x;
  total += lane_pick4(vec4<f32>(total), lane_id ^ 2u).x;
  total += lane_pick4(vec4<f32>(total), lane_id ^ 1u).x;
  return total;
}

fn lane_max(value: f32) -> f32 {
  var top = value;
  top = max(top, lane_pick4(vec4<f32>(top), lane_id ^ 4u).x);
  top = max(top, lane_pick4(vec4<f32>(top), lane_id ^ 2u).x);
  top = max(top, lane_pick4(vec4<f32>(top), lane_id ^ 1u).x);
  return top;
}
