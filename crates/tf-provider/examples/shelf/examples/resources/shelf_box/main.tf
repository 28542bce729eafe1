resource "shelf_box" "books" {
  name         = "books"
  label        = "Books"
  weight       = 4.5
  contents     = ["a dictionary", "an atlas"]
  lid          = { material = "wood" }
  compartments = [{ width = 200 }, { width = 150 }]

  timeouts = { create = "30s" }
}
