"""Move and join modules by a map; rewrite every import, reference and name that follows from it."""
import ast, re, sys, pathlib, shutil
from collections import defaultdict
import libcst as cst
from libcst.metadata import MetadataWrapper, ScopeProvider, ImportAssignment, GlobalScope
sys.path.insert(0, 'tools/rooms')
from lib import files, dotted
from graph import load_map, tops

SRC = pathlib.Path(sys.argv[1]); DST = pathlib.Path(sys.argv[2])
MAP, MOVES = load_map('tools/rooms/rooms.map')
RENAMES = {}
for l in open('tools/rooms/renames.map'):
    l=l.split('#')[0].strip()
    if l:
        where, new = l.split(); mod, name = where.split(':'); RENAMES[mod, name] = new
ALIAS = {}
for l in open('tools/rooms/aliases.map'):
    l=l.strip()
    if l:
        a,b=l.split(); ALIAS[tuple(a.split(':'))]=tuple(b.split(':'))
FS = files(SRC)
for s in FS:
    keep = ('schema/__init__','compiler/__init__','runtime/__init__','runtime/contract/__init__','runtime/data/__init__','runtime/operators/__init__','runtime/report/__init__')
    MAP.setdefault(s, None if s.endswith('__init__') and s not in keep else s)
STEM = {dotted(s): s for s in FS}
NEWMOD = {}     # old dotted -> new dotted
for s in FS:
    if MAP[s]: NEWMOD[dotted(s)] = dotted(MAP[s])
TREES = {s: ast.parse(p.read_text()) for s, p in FS.items()}
DEFS = {s: tops(t) for s, t in TREES.items()}

def home(stem, name):
    """new stem in which a definition stands"""
    return MOVES.get((stem, name)) or MAP[stem]
def final(stem, name):
    return RENAMES.get((stem, name), name)
def resolve(mod, name):
    """(module text, name) of an own import -> (old stem, attr or None for module)"""
    full = f'{mod}.{name}'
    if full in STEM: return STEM[full], None
    if mod in STEM: 
        s = STEM[mod]
        # re-exports
        if name not in DEFS[s]:
            for n in ast.walk(TREES[s]):
                if isinstance(n, ast.ImportFrom) and n.module and n.module.startswith('titrant'):
                    for a in n.names:
                        if (a.asname or a.name) == name: return resolve(n.module, a.name)
        return ALIAS.get((s, name), (s, name))
    raise KeyError(full)

def dotted_text(node):
    return '' if node is None else cst.Module([]).code_for_node(node)

class Rewriter(cst.CSTTransformer):
    """Rewrite one module's references. `dest(stmt names)` known by the caller: one destination for the whole module or per statement."""
    METADATA_DEPENDENCIES = (ScopeProvider,)
    def __init__(self, stem, dest_of_name, dest):
        self.stem, self.dest = stem, dest           # dest: new stem of the code being rewritten (statement level)
        self.newmods = {}
        self.problems = []
    def _own(self, node):
        """classify a Name: returns new text or None"""
        scope = self.get_metadata(ScopeProvider, node, None)
        if scope is None: return None
        name = node.value
        assigns = scope[name]
        if not assigns: return None
        kinds = set()
        for a in assigns:
            if isinstance(a, ImportAssignment):
                n = a.node
                if isinstance(n, cst.ImportFrom) and n.module is not None and dotted_text(n.module).split('.')[0] == 'titrant':
                    mod = dotted_text(n.module)
                    for al in n.names:
                        bound = al.asname.name.value if al.asname else al.name.value
                        if bound == name: kinds.add(('own', mod, al.name.value, bound))
                else: kinds.add(('ext',))
            elif isinstance(a.scope, GlobalScope) and self.stem and name in DEFS[self.stem]:
                kinds.add(('def',))
            else: kinds.add(('local',))
        own = [k for k in kinds if k[0] == 'own']
        if own:
            if len({k[1:3] for k in own}) > 1: self.problems.append(f'{self.stem}: {name} two origins')
            _, mod, attr, bound = own[0]
            s, a = resolve(mod, attr)
            if a is None: return ('module', s, bound)
            return ('name', s, a, bound)
        if kinds == {('def',)}:
            s, a = ALIAS.get((self.stem, name), (self.stem, name))
            return ('def', s, a, name)
        return None
    def visit_Attribute_attr(self, node): pass
    def leave_Attribute(self, old, new):
        if isinstance(old.value, cst.Name):
            o = self._own(old.value)
            if o and o[0] == 'module':
                s = o[1]; attr = old.attr.value
                h = home(s, attr)
                f = final(s, attr)
                if h == self.dest: return cst.Name(f, lpar=new.lpar, rpar=new.rpar)
                if (s, attr) in MOVES: self.problems.append(f'{self.stem}: module attr {s}.{attr} moved')
                return new.with_changes(value=cst.Name(self.binding(s, o[2])), attr=cst.Name(f))
        return new
    def binding(self, s, bound):
        """new name of a module binding"""
        base = dotted(s).split('.')[-1]
        if bound != base: return bound        # has an alias of its own
        return MODALIAS.get((self.stem_or_file, s)) or dotted(MAP[s]).split('.')[-1]
    def leave_Name(self, old, new):
        o = self._own(old)
        if not o: return new
        if o[0] == 'module':
            return new.with_changes(value=self.binding(o[1], o[2]))
        _, s, a, bound = o
        f = final(s, a)
        if o[0] == 'def' or bound == a or home(s, a) == self.dest:
            return new.with_changes(value=f)
        return new
    def leave_SimpleString(self, old, new):
        # annotations in quotes
        t = old.value
        if self.stem and re.fullmatch(r'''["'][\w\[\], .|]+["']''', t) and len(t) < 120:
            def sub(m):
                n = m.group(0)
                if n in self.typed:
                    s, a = self.typed[n]
                    return final(s, a) if a else n
                return n
            return new.with_changes(value=re.sub(r'\b[A-Za-z_]\w*\b', sub, t))
        return new.with_changes(value=strings(t))
    def leave_FormattedStringText(self, old, new): return new.with_changes(value=strings(old.value))
    def leave_Comment(self, old, new): return new.with_changes(value=strings(old.value))
    def leave_ImportFrom(self, old, new):
        if old.module is None or dotted_text(old.module).split('.')[0] != 'titrant': return new
        mod = dotted_text(old.module)
        return self.rewrite_import(old, new, mod)
    def rewrite_import(self, old, new, mod):
        groups = defaultdict(list)
        for al in old.names:
            name = al.name.value; alias = al.asname.name.value if al.asname else None
            s, a = resolve(mod, name)
            if a is None:
                h = MAP[s]
                if h is None: print('NO HOME', self.stem_or_file, mod, name); continue
                if h == self.dest and self.stem: continue
                nm = dotted(h); par, _, last = nm.rpartition('.')
                b = self.binding(s, alias or name)
                groups[par].append((last, b if b != last else None))
            else:
                h = home(s, a)
                if h == self.dest and self.stem: continue
                f = final(s, a)
                groups[dotted(h)].append((f, alias if alias and alias != f else None))
        outs = []
        for m, names in groups.items():
            outs.append(cst.ImportFrom(module=cst.parse_expression(m), names=[cst.ImportAlias(cst.Name(n), asname=cst.AsName(cst.Name(x), whitespace_before_as=cst.SimpleWhitespace(' ')) if x else None) for n, x in names]))
        if not outs: return cst.RemoveFromParent()
        if len(outs) == 1: return outs[0]
        return cst.FlattenSentinel(outs)
    def leave_Import(self, old, new):
        return new
def leave_fix(self, old, new):
    return new

MODALIAS = {(f, 'runtime/engines/onnxruntime_engine'): 'onnxruntime_session' for f in ('runtime/torch/onnx_export', 'runtime/onnx/calibration')}
def rewrite(stem, dest, text, file=None):
    wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    r = Rewriter(stem, None, dest); r.stem_or_file = stem or file
    # quoted names: all own imports of the module
    r.typed = {}
    t = ast.parse(text)
    for n in ast.walk(t):
        if isinstance(n, ast.ImportFrom) and n.module and n.module.split('.')[0] == 'titrant':
            for al in n.names:
                s, a = resolve(n.module, al.name)
                if a: r.typed[al.asname or al.name] = (s, a)
    if stem:
        for d in DEFS[stem]: r.typed.setdefault(d, ALIAS.get((stem, d), (stem, d)))
    out = wrapper.visit(r)
    for p in r.problems: print('PROBLEM', p)
    return out

STR = re.compile(r'\btitrant(?:\.[A-Za-z_]\w*)+')
PATHS = re.compile(r'\b((?:src/titrant|schema|compiler|runtime|recipes)/[\w/]+)\.py\b')
def strings(text, attr_ok=True):
    def sub(m):
        parts = m.group(0).split('.')
        for k in range(len(parts), 1, -1):
            mod = '.'.join(parts[:k])
            if mod in NEWMOD:
                rest = parts[k:]
                s = STEM[mod]
                if rest:
                    if rest[0] in DEFS[s]:
                        h = home(s, rest[0]); return '.'.join([dotted(h), final(s, rest[0]), *rest[1:]])
                    if s.endswith('__init__') and MAP[s].endswith('__init__') and rest[0].islower(): return m.group(0)
                return '.'.join([NEWMOD[mod], *rest])
        return m.group(0)
    text = STR.sub(sub, text)
    def psub(m):
        s = m.group(1)
        return f'{MAP[s]}.py' if s in MAP and MAP[s] else m.group(0)
    return PATHS.sub(psub, text)

def is_type_checking(st):
    return isinstance(st, cst.If) and 'TYPE_CHECKING' in cst.Module([]).code_for_node(st.test)
def is_import(st):
    return isinstance(st, cst.SimpleStatementLine) and isinstance(st.body[0], (cst.Import, cst.ImportFrom))
def is_doc(st):
    return isinstance(st, cst.SimpleStatementLine) and isinstance(st.body[0], cst.Expr) and isinstance(st.body[0].value, (cst.SimpleString, cst.ConcatenatedString))
def names_of(st):
    code = cst.Module([]).code_for_node(st)
    try: t = ast.parse(code)
    except SyntaxError: return set()
    return set(tops(t))
def exec_names(st):
    """names needed when the statement runs"""
    t = ast.parse(cst.Module([]).code_for_node(st))
    need = set()
    def ann(n):
        if n is not None and not (isinstance(n, ast.Constant)): names(n)
    def names(n):
        for x in ast.walk(n):
            if isinstance(x, ast.Name): need.add(x.id)
    def args(a):
        for x in [*a.args, *a.kwonlyargs, *a.posonlyargs, a.vararg, a.kwarg]:
            if x is not None: ann(x.annotation)
        for d in [*a.defaults, *a.kw_defaults]:
            if d is not None: names(d)
    def visit(n):
        if isinstance(n, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for d in n.decorator_list: names(d)
            args(n.args); ann(n.returns)
        elif isinstance(n, ast.ClassDef):
            for d in [*n.decorator_list, *n.bases, *[k.value for k in n.keywords]]: names(d)
            for b in n.body: visit(b)
        elif isinstance(n, ast.AnnAssign):
            ann(n.annotation)
            if n.value: visit_expr(n.value)
        elif isinstance(n, (ast.If, ast.Try, ast.With, ast.For)):
            for c in ast.iter_child_nodes(n): visit(c) if isinstance(c, ast.stmt) else names(c)
        else: visit_expr(n)
    def visit_expr(n):
        if isinstance(n, ast.Lambda):
            args(n.args); return
        if isinstance(n, ast.Name): need.add(n.id)
        for c in ast.iter_child_nodes(n): visit_expr(c)
    for n in t.body: visit(n)
    return need

def header_imports(body):
    return [st for st in body if is_import(st)], [st for st in body if is_type_checking(st)]

def main():
    code_of = lambda n: cst.Module([]).code_for_node(n)
    groups = defaultdict(list)
    order = []
    for l in open('tools/rooms/rooms.map'):
        l = l.split('#')[0].strip()
        if not l: continue
        new, _, olds = l.partition('<-'); new = new.strip()
        for o in olds.split(): groups[new].append(o.split(':')[0] if ':' in o else o)
    for (mod, name), new in MOVES.items():
        if mod not in groups[new]: groups[new].append(mod)
    report = []
    out = {}
    for new, olds in groups.items():
        olds = list(dict.fromkeys(olds))
        if len(olds) == 1 and not any(m == olds[0] for m, _ in MOVES) and not any(m == olds[0] for m, _ in ALIAS):
            text = FS[olds[0]].read_text()
            out[new] = rewrite(olds[0], new, text).code
            continue
        parts = []
        for o in olds:
            text = FS[o].read_text()
            mod = rewrite(o, new, text)
            whole = MAP.get(o) == new
            doc = None; imps = []; tcs = []; sts = []
            for i, st in enumerate(mod.body):
                if i == 0 and is_doc(st): doc = st; continue
                if is_import(st): imps.append(st); continue
                if is_type_checking(st) and not st.orelse and all(is_import(x) for x in st.body.body): tcs.append(st); continue
                ns = names_of(st)
                olds_ns = set()
                # statement belongs where its first old name belongs
                inv = {final(*ALIAS.get((o, d), (o, d))): d for d in DEFS[o]}
                if any((o, inv[n]) in ALIAS for n in ns if n in inv): continue
                on = [inv[n] for n in ns if n in inv]
                if ns == {'__all__'} : 
                    report.append(f'__all__ dropped in {o} -> {new}'); continue
                if on:
                    hs = {home(o, x) for x in on}
                    if hs != {new}: continue
                elif not whole: continue
                sts.append(st)
            footer = mod.footer if whole else ()
            parts.append((o, whole, doc, imps, tcs, sts, footer))
        # order of parts by exec-time needs
        defs_by = {}
        for i, (o, *_r) in enumerate(parts):
            for st in parts[i][5]:
                for n in names_of(st):
                    if n in defs_by and defs_by[n] != i: report.append(f'COLLISION {new}: {n} in {parts[defs_by[n]][0]} and {o}')
                    defs_by[n] = i
        needs = {i: set() for i in range(len(parts))}
        for i, p in enumerate(parts):
            for st in p[5]:
                for n in exec_names(st):
                    if n in defs_by and defs_by[n] != i: needs[i].add(defs_by[n])
        done = []; 
        def put(i, stack=()):
            if i in done: return
            if i in stack: report.append(f'ORDER CIRCLE {new}: {[parts[k][0] for k in stack]}'); return
            for j in sorted(needs[i]): put(j, (*stack, i))
            if i not in done: done.append(i)
        for i in range(len(parts)): put(i)
        # imports
        run_lines = []; type_lines = []; run_names = {}; seen = set()
        def bound(st):
            n = st.body[0]
            return [(a.asname.name.value if a.asname else dotted_text(a.name).split('.')[0]) for a in n.names] if not isinstance(n.names, cst.ImportStar) else []
        def key(st, a):
            n = st.body[0]
            return (dotted_text(n.module) if isinstance(n, cst.ImportFrom) else '', dotted_text(a.name))
        internal = {}
        frozen = any('frozen import dataclass' in code_of(st) for p in parts for st in p[3])
        for i in done:
            o, whole, doc, imps, tcs, sts, footer = parts[i]
            fixed = []
            for st in imps:
                n = st.body[0]
                if frozen and isinstance(n, cst.ImportFrom) and dotted_text(n.module) == 'dataclasses':
                    keep = [a for a in n.names if a.name.value != 'dataclass']
                    if not keep: continue
                    keep[-1] = keep[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                    st = st.with_changes(body=[n.with_changes(names=keep)])
                fixed.append(st)
            for st in fixed:
                n = st.body[0]
                for a in n.names:
                    b = a.asname.name.value if a.asname else dotted_text(a.name).split('.')[0]
                    k = key(st, a)
                    if b in run_names and run_names[b] != k and not (isinstance(n, cst.Import)): report.append(f'IMPORT CONFLICT {new}: {b} {run_names[b]} {k} ({o})')
                    if b in defs_by: report.append(f'SHADOW {new}: import {k} of {o} against definition in {parts[defs_by[b]][0]}')
                    run_names[b] = k
                c = code_of(st.with_changes(leading_lines=[])).strip()
                lead = ''.join(code_of(x) for x in st.leading_lines if x.comment)
                if c not in seen: seen.add(c); run_lines.append(lead + c)
        for i in done:
            for tc in parts[i][4]:
                for st in tc.body.body:
                    n = st.body[0]
                    keep = [a for a in n.names if (a.asname.name.value if a.asname else dotted_text(a.name).split('.')[0]) not in run_names and (a.asname or a.name).value not in defs_by] if isinstance(n, cst.ImportFrom) else list(n.names)
                    if not keep: continue
                    keep[-1] = keep[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
                    c = code_of(st.with_changes(leading_lines=[], body=[n.with_changes(names=keep)])).strip()
                    if c not in type_lines: type_lines.append(c)
        for i, m in enumerate(p[0] for p in parts):
            used = {x.id for st in parts[i][5] for x in ast.walk(ast.parse(code_of(st))) if isinstance(x, ast.Name)}
            for d in DEFS[m]:
                if final(m, d) not in used: continue
                if home(m, d) != new and (any((m, x) in MOVES for x in DEFS[m])) and (m, d) not in ALIAS and d != '__all__':
                    c = f'from {dotted(home(m, d))} import {final(m, d)}'
                    if c not in seen: seen.add(c); run_lines.append(c)
        for (m, n), (ts, tn) in ALIAS.items():
            if m in olds and home(ts, tn) != new:
                c = f'from {dotted(home(ts, tn))} import {final(ts, tn)}'
                if c not in seen: seen.add(c); run_lines.append(c)
        docs = []
        for i, p in enumerate(parts):
            if p[1] and p[2] is not None: docs.append(ast.literal_eval(code_of(p[2]).strip()))
        if len(docs) > 1:
            first = docs[0].rstrip(); rest = [d.strip() for d in docs[1:]]
            doc = first + '\n\n' + '\n'.join(rest) + '\n'
        else: doc = (docs or [''])[0]
        pieces = [f'"""{doc}"""\n\n' if doc else '']
        if type_lines and not any('TYPE_CHECKING' in l for l in run_lines): run_lines.append('from typing import TYPE_CHECKING')
        pieces.append('\n'.join(run_lines) + '\n')
        if type_lines: pieces.append('\nif TYPE_CHECKING:\n' + '\n'.join('    ' + '\n    '.join(l.split('\n')) for l in type_lines) + '\n')
        main_guard = []
        for i in done:
            for st in parts[i][5]:
                c = code_of(st)
                if re.match(r'\s*if __name__ ==', c): main_guard.append(c); continue
                pieces.append(c if c.startswith('\n') else ('\n' + c))
        pieces += main_guard
        out[new] = ''.join(pieces)
    for r in report: print(r)
    if '--dry' in sys.argv: return
    # write
    for s, p in FS.items():
        (DST / p.relative_to(SRC)).unlink(missing_ok=True)
    for new, text in out.items():
        p = DST / f'{new}.py'; p.parent.mkdir(parents=True, exist_ok=True); p.write_text(text)
    # tests, docs, benchmarks
    for r in ('tests', 'benchmarks', 'docs'):
        for p in sorted((SRC / r).rglob('*.py')):
            text = p.read_text(); rel = str(p.relative_to(SRC))
            if 'titrant' not in text: continue
            new = rewrite(None, None, text, rel).code
            (DST / rel).write_text(new)
    for pat in ('*.md', '*.toml', '*.yaml', '*.jinja', '*.html'):
        for p in SRC.rglob(pat):
            rel = p.relative_to(SRC)
            if rel.parts[0].startswith('.venv') or any(q.is_symlink() for q in p.parents) or '.venv' in rel.parts: continue
            text = p.read_text(); n = strings(text)
            if n != text and rel.name not in ('CHANGELOG.md',): (DST / rel).write_text(n); print('text', rel)
if __name__ == '__main__': main()
