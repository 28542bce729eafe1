tofu import shelf_box.books 1
