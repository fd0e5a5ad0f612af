//! Whole-system tests on the real stack.
