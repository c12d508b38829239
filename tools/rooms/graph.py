"""Analyse a map: circles of files and folders."""
import sys; sys.path.insert(0,'tools/rooms')
from lib import *
def load_map(path):
    m={}; moves={}
    for l in open(path):
        l=l.split('#')[0].rstrip()
        if not l.strip(): continue
        new,_,olds=l.partition('<-')
        for o in olds.split():
            if ':' in o:
                mod,names=o.split(':')
                for n in names.split(','): moves[mod,n]=new.strip()
            else: m[o]=new.strip()
    return m,moves
def tops(tree):
    """name -> node for every top-level definition (also in TYPE_CHECKING/else)"""
    out={}
    def put(n):
        if isinstance(n,(ast.FunctionDef,ast.ClassDef,ast.AsyncFunctionDef)): out[n.name]=n
        elif isinstance(n,ast.Assign):
            for t in n.targets:
                for x in ast.walk(t):
                    if isinstance(x,ast.Name): out[x.id]=n
        elif isinstance(n,(ast.AnnAssign,)) and isinstance(n.target,ast.Name): out[n.target.id]=n
        elif isinstance(n,ast.If):
            for b in n.body+n.orelse: put(b)
    for n in tree.body: put(n)
    return out
def sccs(g):
    idx={};low={};st=[];on=set();out=[];c=[0]
    sys.setrecursionlimit(10000)
    def go(v):
        idx[v]=low[v]=c[0];c[0]+=1;st.append(v);on.add(v)
        for w in g.get(v,()):
            if w not in idx: go(w);low[v]=min(low[v],low[w])
            elif w in on: low[v]=min(low[v],idx[w])
        if low[v]==idx[v]:
            comp=[]
            while True:
                w=st.pop();on.discard(w);comp.append(w)
                if w==v:break
            out.append(comp)
    for v in list(g):
        if v not in idx: go(v)
    return [c for c in out if len(c)>1]
if __name__=='__main__':
    m,moves=load_map(sys.argv[1])
    fs=files(); stem_of={dotted(s):s for s in fs}; mods=set(stem_of)
    trees={s:ast.parse(p.read_text()) for s,p in fs.items()}
    missing=[s for s in fs if s not in m and not s.endswith('__init__')]
    if missing: print('unmapped',missing)
    bogus=[s for s in m if s not in fs]
    if bogus: print('bogus',bogus)
    new=lambda s: m.get(s, s)
    # edges with symbol awareness: for every top-level segment that refers to imported names
    E=defaultdict(lambda: defaultdict(set)); lines=defaultdict(int)
    for s,t in trees.items():
        defs=tops(t)
        # local import bindings: name-> (targetstem, name)
        seg_new={}
        owner=lambda n: moves.get((s,n),new(s))
        # file-level binding
        bind={}
        for (mod,name,a,lv,node) in imports(t,mods):
            if mod not in stem_of: continue
            tgt=stem_of[mod]; bind.setdefault(a.asname or a.name,[]).append((tgt,name,node,lv))
        toplevel_imps=set()
        for n in t.body:
            names=[k for k,v in defs.items() if v is n]
            src=moves.get((s,names[0]),new(s)) if names else new(s)
            if isinstance(n,(ast.Import,ast.ImportFrom)): continue
            if isinstance(n,ast.If) and 'TYPE_CHECKING' in ast.unparse(n.test) and not names: continue
            if not isinstance(n,(ast.Import,ast.ImportFrom)):
                lines[src]+= n.end_lineno-n.lineno+2 + len(getattr(n,'decorator_list',[]))
            used={x.id for x in ast.walk(n) if isinstance(x,ast.Name)}
            # strings annotations
            for x in ast.walk(n):
                if isinstance(x,ast.Constant) and isinstance(x.value,str) and len(x.value)<80:
                    used|=set(re.findall(r'\b[A-Za-z_]\w*\b',x.value))&set(bind)
            for u in used:
                for (tgt,name,node,lv) in bind.get(u,()):
                    d=moves.get((tgt,name),new(tgt)) if name else new(tgt)
                    if d!=src: E[src][d].add((s,u))
                if u in defs and u not in names:
                    d=owner(u)
                    if d!=src: E[src][d].add((s,u))
            # inner import of module with no use
    g={a:set(b) for a,b in E.items()}
    for c in sccs(g):
        print('FILE CIRCLE',len(c))
        cs=set(c)
        for a in c:
            for b in E[a]:
                if b in cs: print('   ',a,'->',b,sorted(E[a][b])[:6])
    F=defaultdict(lambda: defaultdict(list))
    par=lambda x:x.rsplit('/',1)[0] if '/' in x else ''
    for a in E:
        for b in E[a]:
            if par(a)!=par(b): F[par(a)][par(b)].append((a,b,sorted(E[a][b])[:3]))
    for c in sccs({a:set(b) for a,b in F.items()}):
        print('FOLDER CIRCLE',c)
    seen=set()
    for a in F:
        for b in F[a]:
            if a in F.get(b,{}) and (b,a) not in seen:
                seen.add((a,b))
                print('MUTUAL',a,b); 
                small=(a,b) if len(F[a][b])<=len(F[b][a]) else (b,a)
                for x in F[small[0]][small[1]][:8]: print('     ',x)
                print('     vs', len(F[small[1]][small[0]]))
    cnt=defaultdict(list)
    for n in set(m.values())|set(moves.values()): cnt[par(n)].append(n)
    for f,v in sorted(cnt.items()):
        if len(v)>16: print('CROWDED',f,len(v))
    imp=defaultdict(set)
    for a in E:
        for b in E[a]: imp[b].add(a)
    for n in sorted(set(m.values())):
        L=lines[n]
        if L+25>400: print('BIG',n,L)
        if L+8<60 and not re.search(r'cli/|operators/|__init__',n) and len(imp[n])<5: print('SMALL',n,L,'importers',len(imp[n]))
    print('files',len(set(m.values())))
