"""MediaPipe's face models (Apache-2.0), run by PyTorch: the files are MediaPipe's, the code around them is ours.

    tflite_file   what a TensorFlow Lite file says
    operators     its operators in PyTorch
    network       a model: a file, and what it gives for a picture
    region        turned boxes in pictures, and what networks see of them
    detector      faces in a picture
    landmarks     478 points of a face
    segmentation  which pixels are a person
    blendshapes   ARKit's weights from landmarks
    shipped       the models that come with the package
    landmarker    the models in a `face_landmarker.task`

MediaPipe 0.10.14 is the reference: `tests/track/networks` compares with its numbers.
"""
