output "label" {
  value = provider::shelf::label(null, "books", "a-k")
}
