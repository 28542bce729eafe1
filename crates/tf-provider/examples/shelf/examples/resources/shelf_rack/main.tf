resource "shelf_rack" "hall" {
  name = "hall"

  board { width = 900 }
  board {
    width  = 800
    finish = "oiled"
  }

  hook { side = "left" }

  drawer "keys" {
    depth = 120
    partition { share = 0.5 }
  }

  base { material = "oak" }
}
