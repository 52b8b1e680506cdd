/** Pixels a frame or a picture sent over HTTP may have: 1920x1080 in, 7680x4320 out. */
export const maxFramePixels = 1920 * 1088;

/** Pixels a side may have: what tables are indexed by. */
export const maxFrameSide = 16384;
