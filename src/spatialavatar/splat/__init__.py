"""Gaussians and a camera in, an image and its alpha out: CPU kernel, gsplat on CUDA, float reference."""
