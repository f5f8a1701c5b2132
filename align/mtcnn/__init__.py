"""MTCNN with the ecosystem's checkpoints: a face's box and five landmarks, for photographs of any size.

K. Zhang et al., "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional Networks", IEEE Signal
Processing Letters 2016.
"""
