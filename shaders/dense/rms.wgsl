// 1 / root mean square of the row of `input` that starts at quad `start`; lanes take quads in turn.

fn rms_scale(start: u32) -> f32 {
  var squares = 0.0;
  for (var quad = lane_id; quad < INPUT_QUADS_PER_ROW; quad += LANES) {
    let x = input[start + quad];
    squares += dot(x, x);
  }
  return inverseSqrt(lane_sum(squares) / f32(NORM_WIDTH) + NORM_EPSILON);
}
