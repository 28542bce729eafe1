terraform {
  required_providers {
    shelf = { source = "example.com/example/shelf" }
  }
}

provider "shelf" {
  directory = "/srv/shelf"
}
