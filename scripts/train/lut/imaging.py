"""Image arithmetic shared by the training scripts (numpy only)."""
import numpy as np


def studio_luma(rgb):
    """BT.601 luma, 16..235, of [h,w,3] u8; float64."""
    return 16 + (rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966])) / 255


def cubic(x):
    x = np.abs(x)
    near = 1.5 * x**3 - 2.5 * x**2 + 1
    far = -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2
    return np.where(x <= 1, near, np.where(x < 2, far, 0.0))


def decimation_matrix(n, scale):
    """[n/scale, n]: cubic (a=-0.5) widened by `scale`, mirrored borders: what the field calls MATLAB bicubic."""
    m = n // scale
    out = np.zeros((m, n))
    for i in range(m):
        centre = (i + 0.5) * scale - 0.5
        taps = np.arange(int(np.floor(centre - 2 * scale)), int(np.ceil(centre + 2 * scale)) + 1)
        weight = cubic((taps - centre) / scale)
        weight /= weight.sum()
        source = np.where(taps < 0, -1 - taps, taps)
        source = np.where(source >= n, 2 * n - 1 - source, source)
        np.add.at(out[i], source, weight)
    return out


_matrices = {}


def decimate(luma, scale):
    """Bicubic reduction by an integer factor."""
    h, w = luma.shape
    for n in (h, w):
        if (n, scale) not in _matrices:
            _matrices[n, scale] = decimation_matrix(n, scale)
    return _matrices[h, scale] @ luma @ _matrices[w, scale].T


def psnr(a, b, shave):
    """Peak 255, after cutting `shave` pixels from each side."""
    d = a.astype(np.float64)[shave:-shave, shave:-shave] - b.astype(np.float64)[shave:-shave, shave:-shave]
    return 10 * np.log10(255**2 / np.mean(d * d))


def to_bytes(x):
    return np.clip(np.round(x), 0, 255).astype(np.uint8)
