"""Several processes that train one model: who starts them, who adds, who notices that one is gone."""
