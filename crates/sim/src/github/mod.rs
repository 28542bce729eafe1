//! GitHub Actions: runs, jobs, runners, just-in-time registrations.
