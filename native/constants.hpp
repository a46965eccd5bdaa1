// The fixed numbers of splatting. spatialavatar/splat/constants.py says what they mean; a test compares the two.
#pragma once

constexpr float ALPHA_MIN = 1.0f / 255.0f;
constexpr float ALPHA_MAX = 0.999f;
constexpr float TRANSMITTANCE_MIN = 1e-4f;
constexpr float DILATION = 0.3f;
constexpr float NEAR_DEPTH = 0.01f;
constexpr float FRUSTUM_MARGIN = 0.3f;
constexpr int MAX_IMAGE_SIZE = 16384;
constexpr float MAX_LENGTH = 1e6f;
constexpr float MIN_SQUARED_QUATERNION = 1e-24f;

constexpr float LOG2_E = 1.4426950408889634f;
constexpr float LOG2_ALPHA_MIN = -7.994353436858858f;
constexpr float LOG2_ALPHA_MAX = -0.001443416967f;

// Aspect ratios: see spatialavatar/splat/aspect.py.
constexpr float ASPECT_FLOOR = 1e-5f;
constexpr float ASPECT_ROUND = 1e-12f;

// Binding: see spatialavatar/avatar/binding.py.
constexpr float MIN_EDGE = 1e-8f;
constexpr float MIN_SINE = 1e-6f;
