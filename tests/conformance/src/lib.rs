//! Helpers of the conformance suite; the promises themselves are in `tests/`.
