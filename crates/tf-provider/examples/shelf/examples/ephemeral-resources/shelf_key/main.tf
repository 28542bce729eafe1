ephemeral "shelf_key" "ann" {
  holder = "ann"
}

resource "shelf_box" "locked" {
  name                = "locked"
  combination_wo      = ephemeral.shelf_key.ann.secret
  combination_version = 1
}
