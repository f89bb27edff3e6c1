//! How connections end, and what each side is told.
