//! Guests that really run: throw-away root directories in namespaces of their own.
