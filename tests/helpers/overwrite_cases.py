"""What tests of several files use of overwrite."""



def fail_at(monkeypatch, step, act):
    from training import loop
    update = loop.update

    def failing(model, trainer, batch, made, *more):
        if made == step:
            act()
        return update(model, trainer, batch, made, *more)
    monkeypatch.setattr(loop, "update", failing)
