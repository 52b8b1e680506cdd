// A workgroup is one group of 8 lanes that exchange values through subgroup operations. It runs on any adapter whose
// subgroups have at least 8 lanes: all 8 invocations then share one subgroup.

const LANES = 8u;

// Set first thing by every entry point.
var<private> lane_id: u32;

fn lane_pick4(value: vec4<f32>, lane: u32) -> vec4<f32> {
  return subgroupShuffle(value, lane);
}

fn lane_pick(value: u32, lane: u32) -> u32 {
  return subgroupShuffle(value, lane);
}

fn lane_sum(value: f32) -> f32 {
  var total = value;
  total += subgroupShuffleXor(total, 4u);
  total += subgroupShuffleXor(total, 2u);
  total += subgroupShuffleXor(total, 1u);
  return total;
}

fn lane_max(value: f32) -> f32 {
  var top = value;
  top = max(top, subgroupShuffleXor(top, 4u));
  top = max(top, subgroupShuffleXor(top, 2u));
  top = max(top, subgroupShuffleXor(top, 1u));
  return top;
}
