pub mod preflight;
