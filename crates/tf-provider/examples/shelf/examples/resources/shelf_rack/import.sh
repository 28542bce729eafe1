tofu import shelf_rack.hall hall
