//! An error and its causes as text.

use std::error::Error;
use std::fmt;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// An error with its causes. `{}` prints them on one line, and `{:#}` each on a line of its own.
///
/// Some errors repeat their cause at the end of their text. Such causes are left out.
#[derive(Debug, Clone, Copy)]
pub struct Chain<'a>(pub &'a (dyn Error + 'a));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if formatter.alternate() { "\n  because: " } else { ": " };
        let mut text = self.0.to_string();
        let mut cause = self.0.source();
        while let Some(error) = cause {
            let line = error.to_string();
            if !text.ends_with(&line) {
                text.push_str(separator);
                text.push_str(&line);
            }
            cause = error.source();
        }
        formatter.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Sample {
        #[error("no answer")]
        Inner,
        #[error("unable to connect")]
        Outer(#[source] Box<Sample>),
        #[error("request failed: {0}")]
        Repeating(#[source] Box<Sample>),
    }

    fn outer() -> Sample {
        Sample::Outer(Sample::Inner.into())
    }

    #[test]
    fn causes_follow_the_error() {
        assert_eq!(Chain(&Sample::Inner).to_string(), "no answer");
        assert_eq!(Chain(&outer()).to_string(), "unable to connect: no answer");
        assert_eq!(format!("{:#}", Chain(&outer())), "unable to connect\n  because: no answer");
    }

    #[test]
    fn a_repeated_cause_is_left_out() {
        let error = Sample::Repeating(outer().into());
        assert_eq!(Chain(&error).to_string(), "request failed: unable to connect: no answer");
    }
}
