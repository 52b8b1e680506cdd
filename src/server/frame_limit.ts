/** Pixels a frame or a picture sent over HTTP may have: 1920x1080 in, 7680x4320 out. */
export const maxFramePixels = 1920 * 1088;
