// The sum over a workgroup of 8 lanes.

fn head_sum(thread: u32, value: f32) -> f32 {
  lane_id = thread;
  return lane_sum(value);
}
