data "shelf_box" "books" {
  number = 1
}

output "weight" {
  value = data.shelf_box.books.weight
}
