//! A new process takes over.
