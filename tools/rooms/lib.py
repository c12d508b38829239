"""Shared: load files, module names, import edges."""
import ast, json, pathlib, re, sys
from collections import defaultdict
ROOT=pathlib.Path('../before')
ROOMS=('schema','compiler','runtime','recipes','src')
def files(root=ROOT):
    out={}
    for r in ROOMS:
        for p in root.joinpath(r).rglob('*.py'):
            if any(q.is_symlink() for q in p.parents): continue
            out[str(p.relative_to(root).with_suffix(''))]=p
    return out
def dotted(stem):
    s=stem[4:] if stem.startswith('src/') else 'titrant/'+stem
    if s.endswith('/__init__'): s=s[:-9]
    return s.replace('/','.')
def imports(tree, mods):
    """yield (module, name or None, node, level) own imports; level: top / type / inner"""
    def walk(node, level):
        for ch in ast.iter_child_nodes(node):
            lv=level
            if isinstance(ch,(ast.FunctionDef,ast.AsyncFunctionDef,ast.Lambda)): lv='inner'
            if isinstance(ch,ast.If) and level=='top' and 'TYPE_CHECKING' in ast.unparse(ch.test):
                for b in ch.body:
                    yield from handle(b,'type'); yield from walk(b,'type')
                for b in ch.orelse: yield from handle(b,'top'); yield from walk(b,'top')
                continue
            yield from handle(ch,lv)
            yield from walk(ch,lv)
    def handle(n,lv):
        if isinstance(n,ast.ImportFrom) and n.module and n.module.split('.')[0]=='titrant':
            for a in n.names:
                full=n.module+'.'+a.name
                if full in mods: yield (full,None,a,lv,n)
                else: yield (n.module,a.name,a,lv,n)
        elif isinstance(n,ast.Import):
            for a in n.names:
                if a.name.split('.')[0]=='titrant': yield (a.name,None,a,lv,n)
    yield from walk(tree,'top')
