import {
  to       = shelf_box.books
  identity = { number = 1 }
}
