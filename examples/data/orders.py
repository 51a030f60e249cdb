def f(db, names):
    l = []
    for n in names:
        q = "SELECT id, customer, total FROM orders WHERE customer = '" + n + "'"
        for r in db.execute(q).fetchall():
            if r not in l:
                l.append(r)
    return l
