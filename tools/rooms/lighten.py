import sys, ast, pathlib, re
sys.path.insert(0,'tools/rooms')
import libcst as cst
from libcst.metadata import MetadataWrapper, ScopeProvider, GlobalScope, ParentNodeProvider, PositionProvider
from lib import files, dotted
from collections import defaultdict
ROOT=pathlib.Path('.')
HEAVY={"torch","onnx","onnxruntime","numpy","pandas","pyarrow","scipy","sklearn","matplotlib","PIL"}
fs=files(ROOT); stem_of={dotted(s):s for s in fs}
direct={}; deps=defaultdict(set)
for s,p in fs.items():
    t=ast.parse(p.read_text()); h=set()
    for n in t.body:
        if isinstance(n,ast.Import): h|={a.name.split('.')[0] for a in n.names}&HEAVY
        elif isinstance(n,ast.ImportFrom):
            if n.module.split('.')[0] in HEAVY: h.add(n.module.split('.')[0])
            for a in n.names:
                m=n.module+'.'+a.name
                m=m if m in stem_of else n.module
                if m in stem_of: deps[s].add(stem_of[m])
    direct[s]=h
heavy=set()
def is_heavy(s,seen=()):
    if s in seen: return False
    if direct[s]: return True
    return any(is_heavy(d,(*seen,s)) for d in deps[s])
heavy={s for s in fs if is_heavy(s)}
TARGETS=set(sys.argv[1:])
heavy_sources={s for s in heavy if s not in TARGETS}
# targets count as light afterwards
def src_heavy(mod,name):
    full=f'{mod}.{name}'
    s=stem_of.get(full) or stem_of.get(mod)
    if s is None: return mod.split('.')[0] in HEAVY
    if s in TARGETS: return False
    return s in heavy_after
def compute_after():
    memo={}
    def go(s,st=()):
        if s in TARGETS: return False
        if s in memo: return memo[s]
        if s in st: return False
        r=bool(direct[s]) or any(go(d,(*st,s)) for d in deps[s])
        memo[s]=r; return r
    return {s for s in fs if go(s)}
heavy_after=compute_after()
code=lambda n: cst.Module([]).code_for_node(n)
def dn(n): return '' if n is None else code(n)
for target in TARGETS:
    p=fs[target]; text=p.read_text()
    w=MetadataWrapper(cst.parse_module(text)); mod=w.module
    scopes=w.resolve(ScopeProvider); parent=w.resolve(ParentNodeProvider); pos=w.resolve(PositionProvider)
    lazy={}  # binding -> import line
    for st in mod.body:
        if isinstance(st,cst.SimpleStatementLine) and isinstance(st.body[0],(cst.Import,cst.ImportFrom)):
            n=st.body[0]
            for a in n.names:
                b=a.asname.name.value if a.asname else dn(a.name).split('.')[0]
                alias=f' as {a.asname.name.value}' if a.asname else ''
                if isinstance(n,cst.Import):
                    if dn(a.name).split('.')[0] in HEAVY: lazy[b]=('', f'import {dn(a.name)}{alias}', dn(a.name))
                elif src_heavy(dn(n.module), a.name.value):
                    lazy[b]=(dn(n.module), f'{a.name.value}{alias}', None)
    need_type=set(); local=defaultdict(set); problems=[]; quote=set()
    class V(cst.CSTVisitor):
        def visit_Name(self,node):
            b=node.value
            if b not in lazy: return
            sc=scopes.get(node)
            if sc is None: return
            asg=sc[b]
            if not any(isinstance(a.scope,GlobalScope) for a in asg): return
            # climb
            chain=[]; x=node
            while x in parent:
                x=parent[x]; chain.append(x)
            anns=[c for c in chain if isinstance(c,cst.Annotation)]
            funcs=[c for c in chain if isinstance(c,cst.FunctionDef)]
            if any(isinstance(c,(cst.Import,cst.ImportFrom)) for c in chain): return
            if anns:
                ann=anns[-1]
                # is the annotation inside a function body (AnnAssign)?
                par=parent[ann]
                need_type.add(b)
                inside=[f for f in funcs if f.body in chain]
                if isinstance(par,cst.AnnAssign) and inside: return
                quote.add(ann); return
            inside=[f for f in funcs if f.body in chain]
            if inside:
                local[inside[-1]].add(b)
            else:
                problems.append(f'{target}:{pos[node].start.line}: {b} at module level')
    mod.visit(V())
    for pr in problems: print(pr)
    keepmod={re.match(r'\S+: (\w+)',x)[1] for x in problems}
    # quoted annotations already: find names in strings
    for b in lazy:
        if re.search(r'["\'][^"\'\n]*\b%s\b[^"\'\n]*["\']'%b, text) : need_type.add(b)
    class T(cst.CSTTransformer):
        def __init__(self): self.stack=[]
        def leave_Annotation(self,old,new):
            if old in quote and not isinstance(new.annotation,cst.SimpleString):
                names={m for m in re.findall(r'\w+',code(old.annotation))}
                if names & set(lazy) - keepmod or True:
                    inner=code(new.annotation).replace('"','')
                    return new.with_changes(annotation=cst.SimpleString('"'+inner+'"'))
            return new
        def leave_FunctionDef(self,old,new):
            if old in local:
                lines=[]; byx=defaultdict(list)
                for b in sorted(local[old]-keepmod):
                    m,l,_=lazy[b]
                    if not m: lines.append(l)
                    else: byx[m].append(l)
                lines+= [f"from {m} import {', '.join(v)}" for m,v in byx.items()]
                sts=[cst.parse_statement(l) for l in lines]
                body=list(new.body.body)
                i=1 if body and isinstance(body[0],cst.SimpleStatementLine) and isinstance(body[0].body[0],cst.Expr) and isinstance(body[0].body[0].value,(cst.SimpleString,cst.ConcatenatedString)) else 0
                # after existing local imports
                if sts and i < len(body) and not (isinstance(body[i],cst.SimpleStatementLine) and isinstance(body[i].body[0],(cst.Import,cst.ImportFrom))):
                    body[i]=body[i].with_changes(leading_lines=[cst.EmptyLine(indent=False),*[l for l in body[i].leading_lines if l.comment]])
                if i==1 and sts: sts[0]=sts[0].with_changes(leading_lines=[cst.EmptyLine(indent=False)])
                return new.with_changes(body=new.body.with_changes(body=[*body[:i],*sts,*body[i:]]))
            return new
    out=mod.visit(T())
    # header
    body=[]; placed=False; types=[]
    byx=defaultdict(list)
    for b in sorted((need_type & set(lazy))-keepmod):
        m,l,_=lazy[b]
        if not m: types.append(l)
        else: byx[m].append(l)
    types+= [f"from {m} import {', '.join(v)}" for m,v in byx.items()]
    new=[]; last=None
    for st in out.body:
        if isinstance(st,cst.SimpleStatementLine) and isinstance(st.body[0],(cst.Import,cst.ImportFrom)):
            n=st.body[0]; keep=[]
            for a in n.names:
                b=a.asname.name.value if a.asname else dn(a.name).split('.')[0]
                if b in lazy and b not in keepmod: continue
                keep.append(a)
            if not keep: continue
            keep[-1]=keep[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
            st=st.with_changes(body=[n.with_changes(names=keep)])
        new.append(st)
    res=out.with_changes(body=new).code
    if types:
        m=re.search(r'^if TYPE_CHECKING:\n',res,re.M)
        block=''.join(f'    {l}\n' for l in types)
        if m: res=res[:m.end()]+block+res[m.end():]
        else:
            # after last top import
            t=ast.parse(res); lastl=max(n.end_lineno for n in t.body if isinstance(n,(ast.Import,ast.ImportFrom)))
            L=res.split('\n'); L[lastl:lastl]=['','if TYPE_CHECKING:',*[f'    {l}' for l in types]]
            res='\n'.join(L)
            if 'TYPE_CHECKING' not in res.split('if TYPE_CHECKING')[0]:
                i=t.body[0].end_lineno; L=res.split('\n'); L[i:i]=['','from typing import TYPE_CHECKING']; res='\n'.join(L)
    p.write_text(res)
